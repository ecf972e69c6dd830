//! Which rows of V a step reads.

use gpu_kernels::select_rows::GroupScore;
use gpu_kernels::{select_rows, trim_rows};

use super::super::{check_lengths, sizes};
use super::{Kernels, Shape, Workspace};
use crate::driver::{DeviceSlice, Launch, Result, Stream};

/// Which rows of V are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    pub sinks: usize,
    pub window: usize,
    pub top: usize,
    pub group_score: GroupScore,
}

impl Selection {
    /// Rows of a list, at most.
    pub fn room(&self) -> usize {
        self.sinks + self.window + self.top
    }
}

impl Kernels {
    /// Merges the softmax into `stats` and lists rows in `rows` and `counts`.
    ///
    /// # Safety
    /// `lengths` are at most the shape's capacity; [`Kernels::score`] was queued.
    pub unsafe fn select(
        &self,
        work: &Workspace<'_>,
        shape: Shape,
        selection: Selection,
        lengths: DeviceSlice<'_, u32>,
        stream: &Stream,
    ) -> Result<()> {
        let kernel = &self.select;
        let (queries, pairs) = (shape.queries(), shape.pairs());
        check_lengths(
            kernel,
            &[
                ("rows", work.rows.len(), pairs * selection.room()),
                ("counts", work.counts.len(), pairs),
                ("stats", work.stats.len(), queries * 2),
                ("mass", work.mass.len(), pairs * shape.capacity),
                ("lengths", lengths.len(), shape.sequences),
            ],
        )?;
        let [q_heads, kv_heads, sequences, capacity] = sizes(
            kernel,
            [
                shape.q_heads,
                shape.kv_heads,
                shape.sequences,
                shape.capacity,
            ],
        )?;
        let [room, splits] = sizes(kernel, [selection.room(), shape.score_splits()])?;
        let [sinks, top, window] =
            sizes(kernel, [selection.sinks, selection.top, selection.window])?;
        let group_score = selection.group_score as u32;
        let grid = [kv_heads, sequences, 1];
        let launch = Launch::new(kernel, grid, [select_rows::THREADS, 1, 1])
            .buffer_mut(&work.rows)
            .buffer_mut(&work.counts)
            .buffer_mut(&work.stats)
            .buffer_mut(&work.mass)
            .buffer_mut(&work.scores)
            .buffer_mut(&work.partials)
            .buffer(lengths)
            .value(&q_heads)
            .value(&capacity)
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
        lengths: DeviceSlice<'_, u32>,
        stream: &Stream,
    ) -> Result<()> {
        let kernel = &self.trim;
        let [q_heads, kv_heads, sequences, capacity] = sizes(
            kernel,
            [
                shape.q_heads,
                shape.kv_heads,
                shape.sequences,
                shape.capacity,
            ],
        )?;
        let [room, sinks, window] = sizes(
            kernel,
            [selection.room(), selection.sinks, selection.window],
        )?;
        let grid = [kv_heads, sequences, 1];
        let launch = Launch::new(kernel, grid, [trim_rows::THREADS, 1, 1])
            .shared_bytes(trim_rows::shared_bytes(room))
            .buffer_mut(&work.rows)
            .buffer_mut(&work.counts)
            .buffer_mut(&work.scores)
            .buffer_mut(&work.stats)
            .buffer(lengths)
            .value(&q_heads)
            .value(&capacity)
            .value(&room)
            .value(&sinks)
            .value(&window)
            .value(&p);
        // SAFETY: `select` checked the buffers for these sizes.
        unsafe { launch.run(stream) }
    }
}
