//! The weighted sum of all rows of V, and the sum of all without weights.

use gpu_kernels::v_combine::Weighting;
use gpu_kernels::v_sum::{V_SUM_64_BF16, V_SUM_96_BF16, V_SUM_128_BF16, V_SUM_256_BF16};
use gpu_kernels::v_total::COLUMNS;
use gpu_kernels::{v_combine, v_sum, v_total};
use half::bf16;

use super::super::{ByHead, check_lengths, sizes};
use super::{Kernels, Sequences, Shape, Workspace};
use crate::driver::{DeviceSlice, DeviceSliceMut, Launch, Module, Result, Stream};

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
    /// Sums all rows of V by weight; `lengths` holds the length of the sequence of
    /// each pair of a sequence and a KV head.
    ///
    /// # Safety
    /// `sequences` has the addresses of blocks for all of its lengths, which are
    /// at most the shape's capacity; [`Kernels::merge`] was queued.
    pub unsafe fn sum(
        &self,
        work: &Workspace<'_>,
        shape: Shape,
        lengths: DeviceSlice<'_, u32>,
        sequences: Sequences<'_>,
        stream: &Stream,
    ) -> Result<()> {
        let kernel = self.sum.of(shape.dim)?;
        let splits = shape.sum_splits();
        let parts = shape.queries() * splits;
        let tables = shape.sequences * shape.table_stride;
        check_lengths(
            kernel,
            &[
                ("lengths", lengths.len(), shape.pairs()),
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
        let [splits] = sizes(kernel, [splits])?;
        let grid = [splits, kv_heads, sequence_count];
        let launch = Launch::new(kernel, grid, [v_sum::THREADS, 1, 1])
            .shared_bytes(v_sum::shared_bytes(dim))
            .buffer_mut(&work.sums)
            .buffer_mut(&work.kept)
            // No list: all rows.
            .address(0)
            .buffer(lengths)
            .buffer_mut(&work.scores)
            .buffer_mut(&work.stats)
            .buffer(sequences.v_table)
            .value(&q_heads)
            .value(&capacity)
            .value(&0u32)
            .value(&table_stride);
        // SAFETY: the buffers were checked; the caller vouches for the rest.
        unsafe { launch.run(stream) }
    }

    /// `out [sequences, q_heads, dim]` from the parts of the sum.
    ///
    /// # Safety
    /// [`Kernels::sum`] was queued.
    pub unsafe fn combine(
        &self,
        work: &Workspace<'_>,
        shape: Shape,
        lengths: DeviceSlice<'_, u32>,
        out: &DeviceSliceMut<'_, bf16>,
        stream: &Stream,
    ) -> Result<()> {
        let kernel = &self.combine;
        check_lengths(
            kernel,
            &[
                ("out", out.len(), shape.queries() * shape.dim),
                ("lengths", lengths.len(), shape.sequences),
            ],
        )?;
        let [q_heads, kv_heads, dim] = sizes(kernel, [shape.q_heads, shape.kv_heads, shape.dim])?;
        let [sequences, splits] = sizes(kernel, [shape.sequences, shape.sum_splits()])?;
        let weighting = Weighting::Raw as u32;
        let grid = [q_heads, sequences, 1];
        let launch = Launch::new(kernel, grid, [v_combine::THREADS, 1, 1])
            .buffer_mut(out)
            .buffer_mut(&work.sums)
            .buffer_mut(&work.kept)
            .address(0)
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
