//! Products of one `x` with up to three matrices, such as those of Q, K and V, in one launch.

use cuda_std::{Global, GlobalMut, bf16, f16, kernel, thread};

#[cfg(any(hopper, not(target_arch = "nvptx64")))]
use super::Shallow;
use super::output::Output;
use super::{Rows8, Rows16, Rows32, Rows64, Weights};

/// One of the products, and the block's place in it.
#[derive(Clone, Copy)]
pub(super) struct Part<W> {
    pub out: GlobalMut<f32>,
    /// The weights.
    pub w: W,
    pub bias: Global<f32>,
    /// Rows of `w`.
    pub n: u32,
}

/// The product that the running block has a part in, and the first row of weights there.
#[inline(always)]
pub(super) fn part_of_block<W>(parts: [Part<W>; 3], columns: u32) -> (Part<W>, u32) {
    part_of(parts, columns, thread::block_idx_x())
}

/// The product of a block, and the first row of weights there: blocks take `columns` rows each, of
/// one product after the other.
#[inline(always)]
pub(super) fn part_of<W>(
    [first, second, third]: [Part<W>; 3],
    columns: u32,
    mut block: u32,
) -> (Part<W>, u32) {
    let blocks = first.n.div_ceil(columns);
    if block < blocks {
        return (first, block * columns);
    }
    block -= blocks;
    let blocks = second.n.div_ceil(columns);
    if block < blocks {
        return (second, block * columns);
    }
    (third, (block - blocks) * columns)
}

impl<W> Part<W> {
    #[inline(always)]
    pub(super) fn output(&self, m: u32) -> Output {
        Output {
            out: self.out,
            bias: self.bias,
            residual: Global::from_address(0),
            m,
            n: self.n,
        }
    }
}

macro_rules! kernels {
    ($($name:ident, $shape:ty, $element:ty;)*) => {$(
        /// `outᵢ = x · wᵢᵀ + biasᵢ` for three matrices and at most as many rows as the name says:
        /// `outᵢ [m, nᵢ]`, `x [m, k]`, `wᵢ [nᵢ, k]`, `biasᵢ [nᵢ]` or null. `n1` and `n2` may be 0.
        ///
        /// `m` is at least 1, `k` a multiple of 8. Grid: the sum of `ceil(nᵢ / columns)`; block and
        /// dynamic shared memory: see [`SkinnyShape`](super::SkinnyShape).
        #[kernel(max_threads = <$shape>::THREADS, min_blocks = <$shape>::BLOCKS)]
        pub fn $name(
            out0: GlobalMut<f32>,
            out1: GlobalMut<f32>,
            out2: GlobalMut<f32>,
            w0: Global<$element>,
            w1: Global<$element>,
            w2: Global<$element>,
            bias0: Global<f32>,
            bias1: Global<f32>,
            bias2: Global<f32>,
            n0: u32,
            n1: u32,
            n2: u32,
            x: Global<$element>,
            m: u32,
            k: u32,
        ) {
            let parts = [
                Part { out: out0, w: w0, bias: bias0, n: n0 },
                Part { out: out1, w: w1, bias: bias1, n: n1 },
                Part { out: out2, w: w2, bias: bias2, n: n2 },
            ];
            let (part, first) = part_of_block(parts, <$shape>::W_ROWS);
            let write = |partial| part.output(m).write(partial, first);
            <$shape>::run(&Weights::of(part.w, part.n, k), first, (x, m), write);
        }
    )*};
}

kernels! {
    gemm_skinny_joint_8_bf16, Rows8, bf16;
    gemm_skinny_joint_16_bf16, Rows16, bf16;
    gemm_skinny_joint_32_bf16, Rows32, bf16;
    gemm_skinny_joint_64_bf16, Rows64, bf16;
    gemm_skinny_joint_8_f16, Rows8, f16;
    gemm_skinny_joint_16_f16, Rows16, f16;
    gemm_skinny_joint_32_f16, Rows32, f16;
    gemm_skinny_joint_64_f16, Rows64, f16;
}

#[cfg(any(hopper, not(target_arch = "nvptx64")))]
kernels! {
    gemm_streamed_joint_bf16, Shallow, bf16;
    gemm_streamed_joint_f16, Shallow, f16;
}
