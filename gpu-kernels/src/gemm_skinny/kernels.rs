//! The kernels: what all of them take, and which blocks compute what.

#[cfg(any(hopper, not(target_arch = "nvptx64")))]
use cuda_std::TensorMap;
use cuda_std::{Float16, Global, GlobalMut, bf16, f16, kernel, thread};

use super::joint::{Part, part_of_block};
use super::output::{Output, Partial, write_gated};
#[cfg(any(hopper, not(target_arch = "nvptx64")))]
use super::{Deep, Shallow, boxed::Boxed, kept::Kept};
use super::{Rows8, Rows16, Rows32, Rows64, Weights};

/// `x`, and its `m` rows of `k` elements.
pub(super) type Input<T> = (Global<T>, u32, u32);

/// Blocks that compute products.
pub(super) trait Blocks {
    /// How they get at a matrix.
    type Weights<T: Float16>: Copy;

    const THREADS: u32;
    /// Those that should share a multiprocessor.
    const SHARING: u32;

    /// The running block's part of a product.
    fn product<T: Float16>(output: Output, w: Self::Weights<T>, x: Input<T>);

    /// Its part of several.
    fn joint<T: Float16>(parts: [Part<Self::Weights<T>>; 3], x: Input<T>);

    /// Its part of `n` gated columns.
    fn gated<T: Float16>(
        out: GlobalMut<T>,
        gate_and_up: [Self::Weights<T>; 2],
        n: u32,
        x: Input<T>,
    );
}

/// Blocks of which each has one part.
pub(super) trait OnePart {
    const THREADS: u32;
    const SHARING: u32;
    /// Rows of weights of a part.
    const W_ROWS: u32;

    /// Computes the part of the product whose first row of weights is `first`, and calls `write` with
    /// it, and with what `ahead` has read at the begin of the launch's turn.
    fn run<T: Float16, A>(
        weights: &Weights<T>,
        first: u32,
        x: (Global<T>, u32),
        ahead: impl FnOnce() -> A,
        write: impl FnOnce(Partial, A),
    );
}

/// A block's part of a product that is not gated.
#[inline(always)]
fn write_product<S: OnePart, T: Float16>(
    weights: &Weights<T>,
    first: u32,
    x: (Global<T>, u32),
    output: Output,
) {
    let ahead = || output.added_first(S::W_ROWS, first);
    let write = |partial, added| output.write(partial, first, added);
    S::run(weights, first, x, ahead, write);
}

impl<S: OnePart> Blocks for S {
    type Weights<T: Float16> = Global<T>;
    const THREADS: u32 = <S as OnePart>::THREADS;
    const SHARING: u32 = <S as OnePart>::SHARING;

    #[inline(always)]
    fn product<T: Float16>(output: Output, w: Global<T>, (x, m, k): Input<T>) {
        let first = thread::block_idx_x() * S::W_ROWS;
        write_product::<S, T>(&Weights::of(w, output.n, k), first, (x, m), output);
    }

    #[inline(always)]
    fn joint<T: Float16>(parts: [Part<Global<T>>; 3], (x, m, k): Input<T>) {
        let (part, first) = part_of_block(parts, S::W_ROWS);
        let weights = Weights::of(part.w, part.n, k);
        write_product::<S, T>(&weights, first, (x, m), part.output(m));
    }

    #[inline(always)]
    fn gated<T: Float16>(
        out: GlobalMut<T>,
        gate_and_up: [Global<T>; 2],
        n: u32,
        (x, m, k): Input<T>,
    ) {
        let first = thread::block_idx_x() * (S::W_ROWS / 2);
        let write = |partial, ()| write_gated(out, (partial, 8), (m, n), first);
        let weights = Weights::paired(gate_and_up, n, k);
        S::run(&weights, first, (x, m), || (), write);
    }
}

macro_rules! kernels {
    ($(
        $element:ty, [$($weights:tt)+]:
        $product:ident, $product_blocks:ty;
        $joint:ident, $joint_blocks:ty;
        $gated:ident, $gated_blocks:ty;
    )*) => {$(
        /// `out = x · wᵀ + bias + residual`: `out [m, n]`, `x [m, k]`, `w [n, k]`, `bias [n]` or null,
        /// `residual [m, n]` or null; `residual` may be `out`.
        ///
        /// `m` is at least 1, `k` a multiple of 8. The most of them, boxes of a map, grid, block and
        /// dynamic shared memory: see [`SkinnyShape`](super::SkinnyShape).
        #[kernel(
            max_threads = <$product_blocks as Blocks>::THREADS,
            min_blocks = <$product_blocks as Blocks>::SHARING
        )]
        pub fn $product(
            out: GlobalMut<f32>,
            x: Global<$element>,
            w: $($weights)+,
            bias: Global<f32>,
            residual: Global<f32>,
            m: u32,
            n: u32,
            k: u32,
        ) {
            let output = Output { out, bias, residual, m, n };
            <$product_blocks>::product(output, w, (x, m, k));
        }

        /// `outᵢ = x · wᵢᵀ + biasᵢ` for three matrices: `outᵢ [m, nᵢ]`, `x [m, k]`, `wᵢ [nᵢ, k]`,
        /// `biasᵢ [nᵢ]` or null. `n1` and `n2` may be 0, and their maps any.
        ///
        /// `m` is at least 1, `k` a multiple of 8. The most of them, boxes of a map, grid (of the sum
        /// of `ceil(nᵢ / columns)`), block and dynamic shared memory: see
        /// [`SkinnyShape`](super::SkinnyShape).
        #[kernel(
            max_threads = <$joint_blocks as Blocks>::THREADS,
            min_blocks = <$joint_blocks as Blocks>::SHARING
        )]
        pub fn $joint(
            out0: GlobalMut<f32>,
            out1: GlobalMut<f32>,
            out2: GlobalMut<f32>,
            w0: $($weights)+,
            w1: $($weights)+,
            w2: $($weights)+,
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
            <$joint_blocks>::joint(parts, (x, m, k));
        }

        /// `out = silu(x · gateᵀ) · (x · upᵀ)`: `out [m, n]`, `x [m, k]`, `gate` and `up` `[n, k]`.
        ///
        /// `m` is at least 1, `k` a multiple of 8. The most of them, boxes of a map, grid, block and
        /// dynamic shared memory: see [`SkinnyShape::gated`](super::SkinnyShape::gated).
        #[kernel(
            max_threads = <$gated_blocks as Blocks>::THREADS,
            min_blocks = <$gated_blocks as Blocks>::SHARING
        )]
        pub fn $gated(
            out: GlobalMut<$element>,
            x: Global<$element>,
            gate: $($weights)+,
            up: $($weights)+,
            m: u32,
            n: u32,
            k: u32,
        ) {
            <$gated_blocks>::gated(out, [gate, up], n, (x, m, k));
        }
    )*};
}

kernels! {
    bf16, [Global<bf16>]:
    gemm_skinny_8_bf16, Rows8; gemm_skinny_joint_8_bf16, Rows8; gemm_skinny_gated_8_bf16, Rows8;
    bf16, [Global<bf16>]:
    gemm_skinny_16_bf16, Rows16; gemm_skinny_joint_16_bf16, Rows16; gemm_skinny_gated_16_bf16, Rows16;
    bf16, [Global<bf16>]:
    gemm_skinny_32_bf16, Rows32; gemm_skinny_joint_32_bf16, Rows32; gemm_skinny_gated_32_bf16, Rows32;
    bf16, [Global<bf16>]:
    gemm_skinny_64_bf16, Rows64; gemm_skinny_joint_64_bf16, Rows64; gemm_skinny_gated_64_bf16, Rows64;
    f16, [Global<f16>]:
    gemm_skinny_8_f16, Rows8; gemm_skinny_joint_8_f16, Rows8; gemm_skinny_gated_8_f16, Rows8;
    f16, [Global<f16>]:
    gemm_skinny_16_f16, Rows16; gemm_skinny_joint_16_f16, Rows16; gemm_skinny_gated_16_f16, Rows16;
    f16, [Global<f16>]:
    gemm_skinny_32_f16, Rows32; gemm_skinny_joint_32_f16, Rows32; gemm_skinny_gated_32_f16, Rows32;
    f16, [Global<f16>]:
    gemm_skinny_64_f16, Rows64; gemm_skinny_joint_64_f16, Rows64; gemm_skinny_gated_64_f16, Rows64;
}

#[cfg(any(hopper, not(target_arch = "nvptx64")))]
kernels! {
    bf16, [Global<bf16>]:
    gemm_streamed_bf16, Deep; gemm_streamed_joint_bf16, Shallow; gemm_streamed_gated_bf16, Shallow;
    bf16, [Global<bf16>]:
    gemm_kept_bf16, Kept; gemm_kept_joint_bf16, Kept; gemm_kept_gated_bf16, Kept;
    bf16, [TensorMap]:
    gemm_boxed_bf16, Boxed; gemm_boxed_joint_bf16, Boxed; gemm_boxed_gated_bf16, Boxed;
    f16, [Global<f16>]:
    gemm_streamed_f16, Deep; gemm_streamed_joint_f16, Shallow; gemm_streamed_gated_f16, Shallow;
    f16, [Global<f16>]:
    gemm_kept_f16, Kept; gemm_kept_joint_f16, Kept; gemm_kept_gated_f16, Kept;
    f16, [TensorMap]:
    gemm_boxed_f16, Boxed; gemm_boxed_joint_f16, Boxed; gemm_boxed_gated_f16, Boxed;
}
