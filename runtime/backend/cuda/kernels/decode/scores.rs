//! Scores of the newest positions.

use gpu_kernels::decode_scores::{
    DECODE_SCORES_64_BF16, DECODE_SCORES_96_BF16, DECODE_SCORES_128_BF16, DECODE_SCORES_256_BF16,
    THREADS,
};
use half::bf16;

use super::super::{ByHead, check_lengths, sizes};
use super::{Kernels, Sequences, Shape, Workspace};
use crate::driver::{DeviceSlice, Launch, Module, Result, Stream};

pub fn load(module: &Module) -> Result<ByHead> {
    let kernels = [
        &DECODE_SCORES_64_BF16,
        &DECODE_SCORES_96_BF16,
        &DECODE_SCORES_128_BF16,
        &DECODE_SCORES_256_BF16,
    ];
    ByHead::load(module, kernels)
}

impl Kernels {
    /// Scores of `q [sequences, q_heads, dim]` against all keys, and the parts of
    /// their softmax.
    ///
    /// # Safety
    /// `sequences` has the addresses of blocks for all of its lengths, which
    /// are at most the shape's capacity.
    pub unsafe fn score(
        &self,
        work: &Workspace<'_>,
        shape: Shape,
        q: DeviceSlice<'_, bf16>,
        sequences: Sequences<'_>,
        stream: &Stream,
    ) -> Result<()> {
        let kernel = self.scores.of(shape.dim)?;
        let (queries, splits) = (shape.queries(), shape.score_splits());
        let tables = shape.sequences * shape.table_stride;
        check_lengths(
            kernel,
            &[
                ("q", q.len(), queries * shape.dim),
                ("scores", work.scores.len(), queries * shape.capacity),
                ("partials", work.partials.len(), queries * splits * 2),
                ("lengths", sequences.lengths.len(), shape.sequences),
                ("k_table", sequences.k_table.len(), tables),
            ],
        )?;
        let scale = (shape.dim as f32).sqrt().recip();
        let [splits, q_heads, kv_heads] = sizes(kernel, [splits, shape.q_heads, shape.kv_heads])?;
        let [sequence_count, capacity, table_stride] = sizes(
            kernel,
            [shape.sequences, shape.capacity, shape.table_stride],
        )?;
        let grid = [splits, kv_heads, sequence_count];
        let launch = Launch::new(kernel, grid, [THREADS, 1, 1])
            .buffer_mut(&work.scores)
            .buffer_mut(&work.partials)
            .buffer(q)
            .buffer(sequences.k_table)
            .buffer(sequences.lengths)
            .value(&q_heads)
            .value(&capacity)
            .value(&table_stride)
            .value(&scale);
        // SAFETY: the buffers were checked; the caller vouches for the sequences.
        unsafe { launch.run(stream) }
    }
}
