//! Attention of many positions.

use gpu_kernels::prefill_attention::{
    PREFILL_ATTENTION_64_BF16, PREFILL_ATTENTION_96_BF16, PREFILL_ATTENTION_128_BF16,
    PREFILL_ATTENTION_256_BF16, Q_ROWS, THREADS, shared_bytes,
};
use gpu_kernels::prefill_attention_wgmma as by_warpgroups;
use half::bf16;

use super::{ByHead, check_lengths, function, has_warpgroups, sizes};
use crate::driver::{DeviceSlice, DeviceSliceMut, Function, Launch, Module, Result, Stream};

/// The kernels of `prefill_attention.rs` and `prefill_attention_wgmma`.
pub struct Kernels {
    by_warps: ByHead,
    /// By the size of a head; none where it is not Hopper.
    by_warpgroups: Vec<(usize, Function)>,
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
    pub fn load(module: &Module) -> Result<Self> {
        let by_warps = ByHead::load(
            module,
            [
                &PREFILL_ATTENTION_64_BF16,
                &PREFILL_ATTENTION_96_BF16,
                &PREFILL_ATTENTION_128_BF16,
                &PREFILL_ATTENTION_256_BF16,
            ],
        )?;
        let hopper = [
            (64, &by_warpgroups::PREFILL_ATTENTION_WGMMA_64_BF16),
            (128, &by_warpgroups::PREFILL_ATTENTION_WGMMA_128_BF16),
            (256, &by_warpgroups::PREFILL_ATTENTION_WGMMA_256_BF16),
        ];
        let hopper = hopper.into_iter().filter(|_| has_warpgroups(module));
        Ok(Self {
            by_warps,
            by_warpgroups: hopper
                .map(|(dim, kernel)| Ok((dim, function(module, kernel)?)))
                .collect::<Result<_>>()?,
        })
    }

    /// The kernel for heads of a size, rows of Q that its blocks take, their threads, and their
    /// shared memory.
    fn choose(&self, dim: usize) -> Result<(&Function, u32, u32, fn(u32) -> u32)> {
        let mut hopper = self.by_warpgroups.iter();
        match hopper.find(|(size, _)| *size == dim) {
            Some((_, kernel)) => Ok((
                kernel,
                by_warpgroups::Q_ROWS,
                by_warpgroups::THREADS,
                by_warpgroups::shared_bytes,
            )),
            None => Ok((self.by_warps.of(dim)?, Q_ROWS, THREADS, shared_bytes)),
        }
    }

    /// Queues the attention.
    ///
    /// # Safety
    /// The tables hold the addresses of blocks for all positions.
    pub unsafe fn prefill(&self, prefill: &Prefill<'_>, stream: &Stream) -> Result<()> {
        let &Prefill { rows, dim, .. } = prefill;
        let (kernel, q_rows, threads, shared_bytes) = self.choose(dim)?;
        let count = rows * prefill.q_heads * dim;
        check_lengths(
            kernel,
            &[
                ("out", prefill.out.len(), count),
                ("q", prefill.q.len(), count),
            ],
        )?;
        let [rows, first, q_heads, kv_heads, dim] = sizes(
            kernel,
            [rows, prefill.first, prefill.q_heads, prefill.kv_heads, dim],
        )?;
        let scale = (dim as f32).sqrt().recip();
        let grid = [rows.div_ceil(q_rows), q_heads, 1];
        let launch = Launch::new(kernel, grid, [threads, 1, 1])
            .shared_bytes(shared_bytes(dim))
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
