//! The softmax of a step over all scores.

use gpu_kernels::select_rows::{GroupScore, THREADS};

use super::super::{check_lengths, sizes};
use super::{Kernels, Shape, Workspace};
use crate::driver::{DeviceSlice, Launch, Result, Stream};

impl Kernels {
    /// Merges the parts of the softmax into `stats`. The kernel lists rows as
    /// well: here the newest, which nothing reads.
    ///
    /// # Safety
    /// `lengths` are at most the shape's capacity; [`Kernels::score`] was queued.
    pub unsafe fn merge(
        &self,
        work: &Workspace<'_>,
        shape: Shape,
        lengths: DeviceSlice<'_, u32>,
        stream: &Stream,
    ) -> Result<()> {
        let kernel = &self.select;
        let (queries, pairs) = (shape.queries(), shape.pairs());
        check_lengths(
            kernel,
            &[
                ("rows", work.rows.len(), pairs),
                ("counts", work.counts.len(), pairs),
                ("stats", work.stats.len(), queries * 2),
                ("lengths", lengths.len(), shape.sequences),
            ],
        )?;
        let [q_heads, kv_heads, sequences] =
            sizes(kernel, [shape.q_heads, shape.kv_heads, shape.sequences])?;
        let [capacity, splits] = sizes(kernel, [shape.capacity, shape.score_splits()])?;
        let group_score = GroupScore::Sum as u32;
        let grid = [kv_heads, sequences, 1];
        let launch = Launch::new(kernel, grid, [THREADS, 1, 1])
            .buffer_mut(&work.rows)
            .buffer_mut(&work.counts)
            .buffer_mut(&work.stats)
            // Nothing is ranked.
            .address(0)
            .buffer_mut(&work.scores)
            .buffer_mut(&work.partials)
            .buffer(lengths)
            .value(&q_heads)
            .value(&capacity)
            .value(&1u32)
            .value(&splits)
            .value(&0u32)
            .value(&0u32)
            .value(&1u32)
            .value(&group_score);
        // SAFETY: the buffers were checked; the caller vouches for the rest.
        unsafe { launch.run(stream) }
    }
}
