//! The steps of one position's attention: scores, selection, sum, combination.

use gpu_kernels::decode_scores::{
    DECODE_SCORES_64_BF16, DECODE_SCORES_96_BF16, DECODE_SCORES_128_BF16, DECODE_SCORES_256_BF16,
    POSITIONS,
};
use gpu_kernels::select_rows::{GroupScore, SELECT_ROWS};
use gpu_kernels::trim_rows::TRIM_ROWS;
use gpu_kernels::v_combine::{V_COMBINE_BF16, Weighting};
use gpu_kernels::v_sum::{ROWS, V_SUM_64_BF16, V_SUM_96_BF16, V_SUM_128_BF16, V_SUM_256_BF16};
use gpu_kernels::v_total::{COLUMNS, V_TOTAL};
use gpu_kernels::{decode_scores, select_rows, trim_rows, v_combine, v_sum, v_total};
use half::bf16;

use super::{ByHead, check_lengths, function, sizes};
use crate::driver::{DeviceSlice, DeviceSliceMut, Function, Launch, Module, Result, Stream};

/// Parts of the sum over V, at most.
const MAX_SPLITS: usize = 32;

/// The kernels of `decode_scores.rs`, `select_rows.rs`, `trim_rows.rs`,
/// `v_sum.rs`, `v_combine.rs` and `v_total.rs`.
pub struct Kernels {
    scores: ByHead,
    select: Function,
    trim: Function,
    sum: ByHead,
    combine: Function,
    total: Function,
}

/// Sizes of a step of one sequence.
#[derive(Clone, Copy)]
pub struct Shape {
    pub q_heads: usize,
    pub kv_heads: usize,
    pub dim: usize,
    /// Positions, at least 1.
    pub length: usize,
}

/// Which rows of V are listed.
#[derive(Clone, Copy)]
pub struct Selection {
    pub sinks: usize,
    pub window: usize,
    pub top: usize,
    pub group_score: GroupScore,
}

/// How the rows that were left out of a sum count.
#[derive(Clone, Copy)]
pub struct Rest<'a> {
    /// Rows that the sum took, at most.
    pub rows: usize,
    pub weighting: Weighting,
    /// `[kv_heads, dim]`: the sum of all rows, where `weighting` needs it.
    pub totals: Option<DeviceSlice<'a, f32>>,
}

/// What the kernels of a step leave for each other.
pub struct Workspace<'a> {
    /// `[q_heads, score_stride]`.
    pub scores: DeviceSliceMut<'a, f32>,
    /// `[kv_heads, score_stride]`.
    pub mass: DeviceSliceMut<'a, f32>,
    /// `[q_heads, score_splits, 2]`.
    pub partials: DeviceSliceMut<'a, f32>,
    /// `[q_heads, 2]`.
    pub stats: DeviceSliceMut<'a, f32>,
    /// `[kv_heads, selection.room()]`.
    pub rows: DeviceSliceMut<'a, u32>,
    /// `[kv_heads]`.
    pub counts: DeviceSliceMut<'a, u32>,
    /// `[q_heads, sum_splits, dim]`.
    pub sums: DeviceSliceMut<'a, f32>,
    /// `[q_heads, sum_splits]`.
    pub kept: DeviceSliceMut<'a, f32>,
}

impl Shape {
    /// From the scores of one head to the next: even.
    pub fn score_stride(&self) -> usize {
        self.length.next_multiple_of(2)
    }

    /// Parts of the softmax.
    pub fn score_splits(&self) -> usize {
        self.length.div_ceil(POSITIONS as usize)
    }

    /// Parts of a sum over at most `rows` rows of V.
    pub fn sum_splits(&self, rows: usize) -> usize {
        rows.div_ceil(ROWS as usize).clamp(1, MAX_SPLITS)
    }
}

impl Selection {
    /// Rows of a list, at most.
    pub fn room(&self) -> usize {
        self.sinks + self.window + self.top
    }
}

impl Kernels {
    pub fn load(module: &Module) -> Result<Self> {
        let scores = [
            &DECODE_SCORES_64_BF16,
            &DECODE_SCORES_96_BF16,
            &DECODE_SCORES_128_BF16,
            &DECODE_SCORES_256_BF16,
        ];
        let sum = [
            &V_SUM_64_BF16,
            &V_SUM_96_BF16,
            &V_SUM_128_BF16,
            &V_SUM_256_BF16,
        ];
        Ok(Self {
            scores: ByHead::load(module, scores)?,
            select: function(module, &SELECT_ROWS)?,
            trim: function(module, &TRIM_ROWS)?,
            sum: ByHead::load(module, sum)?,
            combine: function(module, &V_COMBINE_BF16)?,
            total: function(module, &V_TOTAL)?,
        })
    }

    /// Scores of `q [q_heads, dim]` against all keys, and the parts of their softmax.
    ///
    /// # Safety
    /// `k_table` holds the addresses of blocks for all positions; `length` is
    /// the shape's.
    pub unsafe fn score(
        &self,
        work: &Workspace<'_>,
        shape: Shape,
        q: DeviceSlice<'_, bf16>,
        k_table: DeviceSlice<'_, u64>,
        length: DeviceSlice<'_, u32>,
        stream: &Stream,
    ) -> Result<()> {
        let kernel = self.scores.of(shape.dim)?;
        let (stride, splits) = (shape.score_stride(), shape.score_splits());
        check_lengths(
            kernel,
            &[
                ("q", q.len(), shape.q_heads * shape.dim),
                ("scores", work.scores.len(), shape.q_heads * stride),
                ("partials", work.partials.len(), shape.q_heads * splits * 2),
                ("length", length.len(), 1),
            ],
        )?;
        let scale = (shape.dim as f32).sqrt().recip();
        let [splits, q_heads, kv_heads, stride] =
            sizes(kernel, [splits, shape.q_heads, shape.kv_heads, stride])?;
        let grid = [splits, kv_heads, 1];
        let launch = Launch::new(kernel, grid, [decode_scores::THREADS, 1, 1])
            .buffer_mut(&work.scores)
            .buffer_mut(&work.partials)
            .buffer(q)
            .buffer(k_table)
            .buffer(length)
            .value(&q_heads)
            .value(&stride)
            .value(&0u32)
            .value(&scale);
        // SAFETY: the buffers were checked; the caller vouches for table and length.
        unsafe { launch.run(stream) }
    }

    /// Merges the softmax into `stats` and lists rows in `rows` and `counts`.
    ///
    /// # Safety
    /// `length` is the shape's; [`Kernels::score`] was queued.
    pub unsafe fn select(
        &self,
        work: &Workspace<'_>,
        shape: Shape,
        selection: Selection,
        length: DeviceSlice<'_, u32>,
        stream: &Stream,
    ) -> Result<()> {
        let kernel = &self.select;
        let stride = shape.score_stride();
        check_lengths(
            kernel,
            &[
                ("rows", work.rows.len(), shape.kv_heads * selection.room()),
                ("counts", work.counts.len(), shape.kv_heads),
                ("stats", work.stats.len(), shape.q_heads * 2),
                ("mass", work.mass.len(), shape.kv_heads * stride),
                ("length", length.len(), 1),
            ],
        )?;
        let Selection {
            sinks,
            window,
            top,
            group_score,
        } = selection;
        let [q_heads, kv_heads, stride, room] = sizes(
            kernel,
            [shape.q_heads, shape.kv_heads, stride, selection.room()],
        )?;
        let [splits, sinks, top, window] =
            sizes(kernel, [shape.score_splits(), sinks, top, window])?;
        let group_score = group_score as u32;
        let grid = [kv_heads, 1, 1];
        let launch = Launch::new(kernel, grid, [select_rows::THREADS, 1, 1])
            .buffer_mut(&work.rows)
            .buffer_mut(&work.counts)
            .buffer_mut(&work.stats)
            .buffer_mut(&work.mass)
            .buffer_mut(&work.scores)
            .buffer_mut(&work.partials)
            .buffer(length)
            .value(&q_heads)
            .value(&stride)
            .value(&room)
            .value(&splits)
            .value(&sinks)
            .value(&top)
            .value(&window)
            .value(&group_score);
        // SAFETY: the buffers were checked; the caller vouches for the rest.
        unsafe { launch.run(stream) }
    }

    /// Shortens the lists to the fewest rows that hold the probability `p`.
    ///
    /// # Safety
    /// As [`Kernels::select`], which was queued with this selection.
    pub unsafe fn trim(
        &self,
        work: &Workspace<'_>,
        shape: Shape,
        selection: Selection,
        p: f32,
        length: DeviceSlice<'_, u32>,
        stream: &Stream,
    ) -> Result<()> {
        let kernel = &self.trim;
        let [q_heads, kv_heads, stride, room] = sizes(
            kernel,
            [
                shape.q_heads,
                shape.kv_heads,
                shape.score_stride(),
                selection.room(),
            ],
        )?;
        let [sinks, window] = sizes(kernel, [selection.sinks, selection.window])?;
        let launch = Launch::new(kernel, [kv_heads, 1, 1], [trim_rows::THREADS, 1, 1])
            .shared_bytes(trim_rows::shared_bytes(room))
            .buffer_mut(&work.rows)
            .buffer_mut(&work.counts)
            .buffer_mut(&work.scores)
            .buffer_mut(&work.stats)
            .buffer(length)
            .value(&q_heads)
            .value(&stride)
            .value(&room)
            .value(&sinks)
            .value(&window)
            .value(&p);
        // SAFETY: `select` checked the buffers for these sizes.
        unsafe { launch.run(stream) }
    }

    /// Sums rows of V by weight: those listed, or all where `selection` is `None`;
    /// `counts` then holds the length for each KV head.
    ///
    /// # Safety
    /// `v_table` holds the addresses of blocks for all positions; `counts` is as
    /// said; [`Kernels::select`] was queued with this selection, if one is given.
    pub unsafe fn sum(
        &self,
        work: &Workspace<'_>,
        shape: Shape,
        selection: Option<Selection>,
        counts: DeviceSlice<'_, u32>,
        v_table: DeviceSlice<'_, u64>,
        stream: &Stream,
    ) -> Result<()> {
        let kernel = self.sum.of(shape.dim)?;
        let room = selection.map_or(shape.length, |s| s.room());
        let splits = shape.sum_splits(room);
        let parts = shape.q_heads * splits;
        check_lengths(
            kernel,
            &[
                ("counts", counts.len(), shape.kv_heads),
                ("sums", work.sums.len(), parts * shape.dim),
                ("kept", work.kept.len(), parts),
            ],
        )?;
        let [q_heads, kv_heads, dim, stride] = sizes(
            kernel,
            [
                shape.q_heads,
                shape.kv_heads,
                shape.dim,
                shape.score_stride(),
            ],
        )?;
        let [splits, room] = sizes(kernel, [splits, room])?;
        let launch = Launch::new(kernel, [splits, kv_heads, 1], [v_sum::THREADS, 1, 1])
            .shared_bytes(v_sum::shared_bytes(dim))
            .buffer_mut(&work.sums)
            .buffer_mut(&work.kept);
        let launch = match selection {
            Some(_) => launch.buffer_mut(&work.rows),
            None => launch.address(0),
        };
        let launch = launch
            .buffer(counts)
            .buffer_mut(&work.scores)
            .buffer_mut(&work.stats)
            .buffer(v_table)
            .value(&q_heads)
            .value(&stride)
            .value(&room)
            .value(&0u32);
        // SAFETY: the buffers were checked; the caller vouches for the rest.
        unsafe { launch.run(stream) }
    }

    /// `out [q_heads, dim]` from the parts of the sum.
    ///
    /// # Safety
    /// `length` is the shape's; [`Kernels::sum`] was queued.
    pub unsafe fn combine(
        &self,
        work: &Workspace<'_>,
        shape: Shape,
        rest: Rest<'_>,
        length: DeviceSlice<'_, u32>,
        out: &DeviceSliceMut<'_, bf16>,
        stream: &Stream,
    ) -> Result<()> {
        let kernel = &self.combine;
        let Rest {
            rows,
            weighting,
            totals,
        } = rest;
        let values = shape.kv_heads * shape.dim;
        let needed = if weighting == Weighting::MeanV {
            values
        } else {
            0
        };
        check_lengths(
            kernel,
            &[
                ("out", out.len(), shape.q_heads * shape.dim),
                ("totals", totals.map_or(0, |t| t.len()), needed),
            ],
        )?;
        let [q_heads, kv_heads, dim, splits] = sizes(
            kernel,
            [
                shape.q_heads,
                shape.kv_heads,
                shape.dim,
                shape.sum_splits(rows),
            ],
        )?;
        let weighting = weighting as u32;
        let launch = Launch::new(kernel, [q_heads, 1, 1], [v_combine::THREADS, 1, 1])
            .buffer_mut(out)
            .buffer_mut(&work.sums)
            .buffer_mut(&work.kept);
        let launch = match totals {
            Some(totals) => launch.buffer(totals),
            None => launch.address(0),
        };
        let launch = launch
            .buffer(length)
            .value(&kv_heads)
            .value(&dim)
            .value(&splits)
            .value(&weighting);
        // SAFETY: the buffers were checked; the caller vouches for the rest.
        unsafe { launch.run(stream) }
    }

    /// Adds rows of V, `v [rows, width]`, to `totals [width]`. `bounds` holds 0 and `rows`.
    ///
    /// # Safety
    /// `bounds` is as said.
    pub unsafe fn total(
        &self,
        totals: &DeviceSliceMut<'_, f32>,
        v: DeviceSlice<'_, f32>,
        bounds: DeviceSlice<'_, u32>,
        stream: &Stream,
    ) -> Result<()> {
        let kernel = &self.total;
        check_lengths(kernel, &[("bounds", bounds.len(), 2)])?;
        let [width] = sizes(kernel, [totals.len()])?;
        let grid = [width.div_ceil(COLUMNS), 1, 1];
        let launch = Launch::new(kernel, grid, [v_total::THREADS, 1, 1])
            .buffer_mut(totals)
            .buffer(v)
            .buffer(bounds)
            .value(&width)
            .value(&width);
        // SAFETY: the caller vouches for the bounds.
        unsafe { launch.run(stream) }
    }
}
