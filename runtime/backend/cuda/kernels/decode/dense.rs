//! Attention over all rows.

use gpu_kernels::decode_attention::{
    DECODE_ATTENTION_64_BF16, DECODE_ATTENTION_96_BF16, DECODE_ATTENTION_128_BF16,
    DECODE_ATTENTION_256_BF16, THREADS, group_parts, min_blocks, shared_bytes,
};
use half::bf16;

use super::super::{ByHead, Library, check_lengths, sizes};
use super::{Kernels, Sequences, Shape, Workspace};
use crate::driver::{DeviceSlice, DeviceSliceMut, Launch, Result, Stream};

/// The most rounds of blocks that are started for the sake of even ones: each costs its start.
const ROUNDS: usize = 4;

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

    /// Parts of the positions: as few as make the launch as short as any number does. It takes as long
    /// as a block with the most positions, times the rounds in which the device runs all blocks.
    pub fn splits(&self) -> usize {
        let kv_blocks = self
            .capacity
            .div_ceil(gpu_kernels::KV_BLOCK as usize)
            .max(1);
        let dim = u32::try_from(self.dim).unwrap_or(u32::MAX);
        let at_once = (self.multiprocessors * min_blocks(dim) as usize).max(1);
        let each = (self.sequences * self.grid_heads()).max(1);
        let time = |splits: usize| kv_blocks.div_ceil(splits) * (each * splits).div_ceil(at_once);
        let most = (ROUNDS * at_once / each).clamp(1, kv_blocks);
        (1..=most).min_by_key(|&splits| time(splits)).unwrap_or(1)
    }

    /// Counters of blocks that are done.
    pub fn arrivals(&self) -> usize {
        self.sequences * self.grid_heads()
    }
}

impl Kernels {
    /// `out = softmax(q · kᵀ / √dim) · v`: `q` and `out` `[sequences, q_heads, dim]`; V may be in the
    /// host's memory if `is_far`.
    ///
    /// # Safety
    /// `sequences` has the addresses of blocks for all of its lengths, which are
    /// at most the shape's capacity; `work.arrivals` are 0.
    pub unsafe fn dense(
        &self,
        work: &Workspace<'_>,
        shape: Shape,
        (q, out): (DeviceSlice<'_, bf16>, &DeviceSliceMut<'_, bf16>),
        (sequences, is_far): (Sequences<'_>, bool),
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
        let v_is_far = u32::from(is_far);
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
            .value(&scale)
            .value(&v_is_far);
        // SAFETY: the buffers were checked; the caller vouches for the sequences.
        unsafe { launch.run(stream) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_in_even_rounds() {
        let splits = |sequences, kv_heads, capacity, dim| {
            let shape = Shape {
                sequences,
                q_heads: kv_heads,
                kv_heads,
                dim,
                capacity,
                table_stride: capacity.div_ceil(64),
                multiprocessors: 132,
            };
            shape.splits()
        };
        // One block for each 64 positions where there is room for all.
        assert_eq!(splits(1, 32, 512, 128), 8);
        // One round, two, and four: 384, 768 and 1,536 of 396 blocks each.
        assert_eq!(splits(4, 32, 512, 128), 3);
        assert_eq!(splits(8, 32, 32768, 128), 3);
        assert_eq!(splits(16, 32, 32768, 128), 3);
        // Two blocks to a multiprocessor.
        assert_eq!(splits(4, 32, 32768, 256), 2);
        assert_eq!(splits(1000, 32, 512, 128), 1);
        assert_eq!(splits(1, 1, 1, 64), 1);
    }
}
