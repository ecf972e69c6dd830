//! Attention over all rows.

use gpu_kernels::decode_attention::{
    DECODE_ATTENTION_64_BF16, DECODE_ATTENTION_96_BF16, DECODE_ATTENTION_128_BF16,
    DECODE_ATTENTION_256_BF16, THREADS, group_parts, shared_bytes,
};
use half::bf16;

use super::super::{ByHead, Library, check_lengths, sizes};
use super::{Kernels, Sequences, Shape, Workspace};
use crate::driver::{DeviceSlice, DeviceSliceMut, Launch, Result, Stream};

/// Blocks to aim for: a few for each multiprocessor of the largest devices.
const BLOCKS: usize = 792;

pub fn kernels(library: &Library) -> ByHead {
    let kernels = [
        &DECODE_ATTENTION_64_BF16,
        &DECODE_ATTENTION_96_BF16,
        &DECODE_ATTENTION_128_BF16,
        &DECODE_ATTENTION_256_BF16,
    ];
    ByHead::all(library, kernels)
}

impl Shape {
    /// Blocks that take a part of the same rows.
    pub(super) fn grid_heads(&self) -> usize {
        let group = u32::try_from(self.q_heads / self.kv_heads).unwrap_or(u32::MAX);
        self.kv_heads * group_parts(group) as usize
    }

    /// Parts of the positions.
    pub fn splits(&self) -> usize {
        let wanted = BLOCKS.div_ceil(self.sequences * self.grid_heads());
        wanted.clamp(1, self.capacity.div_ceil(gpu_kernels::KV_BLOCK as usize))
    }

    /// Counters of blocks that are done.
    pub fn arrivals(&self) -> usize {
        self.sequences * self.grid_heads()
    }
}

impl Kernels {
    /// `out = softmax(q · kᵀ / √dim) · v`: `q` and `out` `[sequences, q_heads, dim]`.
    ///
    /// # Safety
    /// `sequences` has the addresses of blocks for all of its lengths, which are
    /// at most the shape's capacity; `work.arrivals` are 0.
    pub unsafe fn dense(
        &self,
        work: &Workspace<'_>,
        shape: Shape,
        (q, out): (DeviceSlice<'_, bf16>, &DeviceSliceMut<'_, bf16>),
        sequences: Sequences<'_>,
        stream: &Stream,
    ) -> Result<()> {
        let kernel = self.dense.of(shape.dim)?;
        let (queries, splits) = (shape.queries(), shape.splits());
        let tables = shape.sequences * shape.table_stride;
        check_lengths(
            kernel,
            &[
                ("out", out.len(), queries * shape.dim),
                ("q", q.len(), queries * shape.dim),
                (
                    "partials",
                    work.partials.len(),
                    queries * splits * shape.dim,
                ),
                ("stats", work.stats.len(), queries * splits * 2),
                ("arrivals", work.arrivals.len(), shape.arrivals()),
                ("lengths", sequences.lengths.len(), shape.sequences),
                ("k_table", sequences.k_table.len(), tables),
                ("v_table", sequences.v_table.len(), tables),
            ],
        )?;
        let scale = (shape.dim as f32).sqrt().recip();
        let [q_heads, kv_heads, dim] = sizes(kernel, [shape.q_heads, shape.kv_heads, shape.dim])?;
        let grid = [splits, shape.grid_heads(), shape.sequences];
        let (grid, [stride]) = (sizes(kernel, grid)?, sizes(kernel, [shape.table_stride])?);
        let launch = Launch::new(kernel, grid, [THREADS, 1, 1])
            .shared_bytes(shared_bytes(dim, q_heads / kv_heads))
            .buffer_mut(out)
            .buffer_mut(&work.partials)
            .buffer_mut(&work.stats)
            .buffer_mut(&work.arrivals)
            .buffer(q)
            .buffer(sequences.k_table)
            .buffer(sequences.v_table)
            .buffer(sequences.lengths)
            .value(&q_heads)
            .value(&kv_heads)
            .value(&stride)
            .value(&scale);
        // SAFETY: the buffers were checked; the caller vouches for the sequences.
        unsafe { launch.run(stream) }
    }
}
