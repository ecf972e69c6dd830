//! Attention of many positions.

use gpu_kernels::prefill_attention::{
    PREFILL_ATTENTION_64_BF16, PREFILL_ATTENTION_96_BF16, PREFILL_ATTENTION_128_BF16,
    PREFILL_ATTENTION_256_BF16, Q_ROWS, THREADS, shared_bytes,
};
use gpu_kernels::prefill_attention_wgmma as by_warpgroups;
use half::bf16;

use super::super::tuning::{Choices, PrefillKernel};
use super::{ByHead, Library, check_lengths, sizes};
use crate::driver::{DeviceSlice, DeviceSliceMut, Function, Launch, Result, Stream};

/// The kernels of `prefill_attention.rs` and `prefill_attention_wgmma`.
pub struct Kernels {
    by_warps: ByHead,
    /// None if they are not chosen.
    by_warpgroups: ByHead,
}

/// What a block of a kernel takes.
struct Block {
    q_rows: u32,
    threads: u32,
    shared_bytes: u32,
}

/// Attention of the newest `rows` positions of a cache of `first + rows`.
pub struct Prefill<'a> {
    /// `[rows, q_heads, dim]`.
    pub out: &'a DeviceSliceMut<'a, bf16>,
    /// `[rows, q_heads, dim]`.
    pub q: DeviceSlice<'a, bf16>,
    /// Addresses of the cache's blocks.
    pub k_table: DeviceSlice<'a, u64>,
    /// Addresses of the cache's blocks.
    pub v_table: DeviceSlice<'a, u64>,
    pub rows: usize,
    pub first: usize,
    pub q_heads: usize,
    pub kv_heads: usize,
    pub dim: usize,
}

impl Kernels {
    pub fn new(library: &Library, choices: &Choices) -> Self {
        let by_warps = [
            &PREFILL_ATTENTION_64_BF16,
            &PREFILL_ATTENTION_96_BF16,
            &PREFILL_ATTENTION_128_BF16,
            &PREFILL_ATTENTION_256_BF16,
        ];
        let hopper = [
            (64, &by_warpgroups::PREFILL_ATTENTION_WGMMA_64_BF16),
            (128, &by_warpgroups::PREFILL_ATTENTION_WGMMA_128_BF16),
            (256, &by_warpgroups::PREFILL_ATTENTION_WGMMA_256_BF16),
        ];
        let chosen = choices.prefill_attention == PrefillKernel::Warpgroups;
        Self {
            by_warps: ByHead::all(library, by_warps),
            by_warpgroups: ByHead::new(library, hopper.into_iter().filter(|_| chosen)),
        }
    }

    /// Compiles the kernel for heads of a size.
    pub fn prepare(&self, dim: usize) -> Result<()> {
        self.choose(dim).map(|_| ())
    }

    /// The kernel for heads of a size, and what its blocks take.
    fn choose(&self, dim: usize) -> Result<(&Function, Block)> {
        if self.by_warpgroups.has(dim) {
            let kernel = self.by_warpgroups.of(dim)?;
            let [width] = sizes(kernel, [dim])?;
            let block = Block {
                q_rows: by_warpgroups::Q_ROWS,
                threads: by_warpgroups::THREADS,
                shared_bytes: by_warpgroups::shared_bytes(width),
            };
            return Ok((kernel, block));
        }
        let kernel = self.by_warps.of(dim)?;
        let [width] = sizes(kernel, [dim])?;
        let block = Block {
            q_rows: Q_ROWS,
            threads: THREADS,
            shared_bytes: shared_bytes(width),
        };
        Ok((kernel, block))
    }

    /// Queues the attention.
    ///
    /// # Safety
    /// The tables hold the addresses of blocks for all positions.
    pub unsafe fn prefill(&self, prefill: &Prefill<'_>, stream: &Stream) -> Result<()> {
        let &Prefill { rows, dim, .. } = prefill;
        let (kernel, block) = self.choose(dim)?;
        let count = rows * prefill.q_heads * dim;
        check_lengths(
            kernel,
            &[
                ("out", prefill.out.len(), count),
                ("q", prefill.q.len(), count),
            ],
        )?;
        let [rows, first, q_heads, kv_heads] = sizes(
            kernel,
            [rows, prefill.first, prefill.q_heads, prefill.kv_heads],
        )?;
        let scale = (dim as f32).sqrt().recip();
        let grid = [rows.div_ceil(block.q_rows), q_heads, 1];
        let launch = Launch::new(kernel, grid, [block.threads, 1, 1])
            .shared_bytes(block.shared_bytes)
            .buffer_mut(prefill.out)
            .buffer(prefill.q)
            .buffer(prefill.k_table)
            .buffer(prefill.v_table)
            .value(&rows)
            .value(&first)
            .value(&q_heads)
            .value(&kv_heads)
            .value(&scale);
        // SAFETY: `q` and `out` were checked; the caller vouches for the tables.
        unsafe { launch.run(stream) }
    }
}
