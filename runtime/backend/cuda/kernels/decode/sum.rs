//! The weighted sum of rows of V, and what stands for the others.

use gpu_kernels::v_combine::Weighting;
use gpu_kernels::v_sum::{V_SUM_64_BF16, V_SUM_96_BF16, V_SUM_128_BF16, V_SUM_256_BF16};
use gpu_kernels::v_total::COLUMNS;
use gpu_kernels::{v_combine, v_sum, v_total};
use half::bf16;

use super::super::{ByHead, check_lengths, sizes};
use super::{Kernels, Selection, Sequences, Shape, Workspace};
use crate::driver::{DeviceSlice, DeviceSliceMut, Launch, Module, Result, Stream};

/// The rows of a sum.
#[derive(Clone, Copy)]
pub enum Summed<'a> {
    /// Those that [`Kernels::select`] listed for this selection.
    Listed(Selection),
    /// All: of each pair of a sequence and a KV head, the length.
    All(DeviceSlice<'a, u32>),
}

/// How the rows that were left out of a sum count.
#[derive(Clone, Copy)]
pub struct Rest<'a> {
    pub weighting: Weighting,
    /// For each sequence the address of the sum of all of its rows,
    /// `[kv_heads, dim]`, where `weighting` needs it.
    pub totals: Option<DeviceSlice<'a, u64>>,
}

impl Summed<'_> {
    /// Rows of a KV head, at most.
    pub fn room(&self, shape: Shape) -> usize {
        match self {
            Self::Listed(selection) => selection.room(),
            Self::All(_) => shape.capacity,
        }
    }
}

pub fn load(module: &Module) -> Result<ByHead> {
    let kernels = [
        &V_SUM_64_BF16,
        &V_SUM_96_BF16,
        &V_SUM_128_BF16,
        &V_SUM_256_BF16,
    ];
    ByHead::load(module, kernels)
}

impl Kernels {
    /// Sums rows of V by weight.
    ///
    /// # Safety
    /// `sequences` has the addresses of blocks for all of its lengths, which are
    /// at most the shape's capacity; `rows` is as said; [`Kernels::select`] was queued.
    pub unsafe fn sum(
        &self,
        work: &Workspace<'_>,
        shape: Shape,
        rows: Summed<'_>,
        sequences: Sequences<'_>,
        stream: &Stream,
    ) -> Result<()> {
        let kernel = self.sum.of(shape.dim)?;
        let room = rows.room(shape);
        let splits = shape.sum_splits(room);
        let parts = shape.queries() * splits;
        let counts = match rows {
            Summed::Listed(_) => work.counts.as_slice(),
            Summed::All(lengths) => lengths,
        };
        let tables = shape.sequences * shape.table_stride;
        check_lengths(
            kernel,
            &[
                ("counts", counts.len(), shape.pairs()),
                ("sums", work.sums.len(), parts * shape.dim),
                ("kept", work.kept.len(), parts),
                ("v_table", sequences.v_table.len(), tables),
            ],
        )?;
        let [q_heads, kv_heads, dim] = sizes(kernel, [shape.q_heads, shape.kv_heads, shape.dim])?;
        let [sequence_count, capacity, table_stride] = sizes(
            kernel,
            [shape.sequences, shape.capacity, shape.table_stride],
        )?;
        let [splits, room] = sizes(kernel, [splits, room])?;
        let grid = [splits, kv_heads, sequence_count];
        let launch = Launch::new(kernel, grid, [v_sum::THREADS, 1, 1])
            .shared_bytes(v_sum::shared_bytes(dim))
            .buffer_mut(&work.sums)
            .buffer_mut(&work.kept);
        let launch = match rows {
            Summed::Listed(_) => launch.buffer_mut(&work.rows),
            Summed::All(_) => launch.address(0),
        };
        let launch = launch
            .buffer(counts)
            .buffer_mut(&work.scores)
            .buffer_mut(&work.stats)
            .buffer(sequences.v_table)
            .value(&q_heads)
            .value(&capacity)
            .value(&room)
            .value(&table_stride);
        // SAFETY: the buffers were checked; the caller vouches for the rest.
        unsafe { launch.run(stream) }
    }

    /// `out [sequences, q_heads, dim]` from the parts of the sum over `rows`.
    ///
    /// # Safety
    /// The totals are as said; [`Kernels::sum`] was queued with these rows.
    pub unsafe fn combine(
        &self,
        work: &Workspace<'_>,
        shape: Shape,
        (rows, rest): (Summed<'_>, Rest<'_>),
        lengths: DeviceSlice<'_, u32>,
        out: &DeviceSliceMut<'_, bf16>,
        stream: &Stream,
    ) -> Result<()> {
        let kernel = &self.combine;
        let Rest { weighting, totals } = rest;
        let needed = match weighting {
            Weighting::MeanV => shape.sequences,
            _ => 0,
        };
        check_lengths(
            kernel,
            &[
                ("out", out.len(), shape.queries() * shape.dim),
                ("totals", totals.map_or(0, |t| t.len()), needed),
                ("lengths", lengths.len(), shape.sequences),
            ],
        )?;
        let splits = shape.sum_splits(rows.room(shape));
        let [q_heads, kv_heads, dim] = sizes(kernel, [shape.q_heads, shape.kv_heads, shape.dim])?;
        let [sequences, splits] = sizes(kernel, [shape.sequences, splits])?;
        let weighting = weighting as u32;
        let grid = [q_heads, sequences, 1];
        let launch = Launch::new(kernel, grid, [v_combine::THREADS, 1, 1])
            .buffer_mut(out)
            .buffer_mut(&work.sums)
            .buffer_mut(&work.kept);
        let launch = match totals {
            Some(totals) => launch.buffer(totals),
            None => launch.address(0),
        };
        let launch = launch
            .buffer(lengths)
            .value(&kv_heads)
            .value(&dim)
            .value(&splits)
            .value(&weighting);
        // SAFETY: the buffers were checked; the caller vouches for the rest.
        unsafe { launch.run(stream) }
    }

    /// Adds rows of V, `v [rows, width]`, to the totals of their sequences:
    /// `totals [sequences]` holds the addresses of `width` floats, and the rows
    /// of sequence `s` are those from `starts[s]` to `starts[s + 1]`.
    ///
    /// # Safety
    /// `totals` and `starts` are as said.
    pub unsafe fn total(
        &self,
        totals: DeviceSlice<'_, u64>,
        v: DeviceSlice<'_, f32>,
        starts: DeviceSlice<'_, u32>,
        width: usize,
        stream: &Stream,
    ) -> Result<()> {
        let kernel = &self.total;
        check_lengths(kernel, &[("starts", starts.len(), totals.len() + 1)])?;
        let [width, sequences] = sizes(kernel, [width, totals.len()])?;
        let grid = [width.div_ceil(COLUMNS), sequences, 1];
        let launch = Launch::new(kernel, grid, [v_total::THREADS, 1, 1])
            .buffer(totals)
            .buffer(v)
            .buffer(starts)
            .value(&width)
            .value(&width);
        // SAFETY: the caller vouches for the totals and the starts.
        unsafe { launch.run(stream) }
    }
}
