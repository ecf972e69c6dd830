//! RMSNorm, alone and after adding to the residual stream.

use cuda_std::{
    F32x4, Float16, Global, GlobalMut, U32x2, bf16, f16, kernel, math, shared_array, thread,
};

use crate::reduce::{MAX_WARPS, block_sum};

/// Threads of a block.
pub const THREADS: u32 = 256;

/// Normalises the block's row, of which this thread has squares that sum to `squares`.
#[inline(always)]
fn normalise<T: Float16>(
    out: GlobalMut<T>,
    x: Global<F32x4>,
    weight: Global<f32>,
    squares: f32,
    width: u32,
    eps: f32,
) {
    let sum = block_sum(squares, shared_array![f32; MAX_WARPS]);
    let scale = math::rsqrt(sum / width as f32 + eps);
    let weight = weight.cast::<F32x4>();
    let out = out.cast::<U32x2>();
    let mut i = thread::thread_idx_x();
    while i < width / 4 {
        let x = x.read(i as usize).0;
        let w = weight.read(i as usize).0;
        let y = [0, 1, 2, 3].map(|k| x[k] * scale * w[k]);
        out.write(
            i as usize,
            U32x2([T::pack(y[0], y[1]), T::pack(y[2], y[3])]),
        );
        i += THREADS;
    }
}

#[inline(always)]
fn square_sum(x: [f32; 4]) -> f32 {
    x[0] * x[0] + x[1] * x[1] + x[2] * x[2] + x[3] * x[3]
}

#[inline(always)]
fn rmsnorm<T: Float16>(
    out: GlobalMut<T>,
    x: Global<f32>,
    weight: Global<f32>,
    width: u32,
    eps: f32,
) {
    let start = thread::block_idx_x() as usize * width as usize;
    let x = x.offset(start).cast::<F32x4>();
    let mut squares = 0.0;
    let mut i = thread::thread_idx_x();
    while i < width / 4 {
        squares += square_sum(x.read(i as usize).0);
        i += THREADS;
    }
    normalise(out.offset(start), x, weight, squares, width, eps);
}

#[inline(always)]
fn add_rmsnorm<T: Float16>(
    out: GlobalMut<T>,
    residual: GlobalMut<f32>,
    delta: Global<f32>,
    weight: Global<f32>,
    width: u32,
    eps: f32,
) {
    let start = thread::block_idx_x() as usize * width as usize;
    let residual = residual.offset(start).cast::<F32x4>();
    let delta = delta.offset(start).cast::<F32x4>();
    let mut squares = 0.0;
    let mut i = thread::thread_idx_x();
    while i < width / 4 {
        let (x, d) = (residual.read(i as usize).0, delta.read(i as usize).0);
        let sum = [0, 1, 2, 3].map(|k| x[k] + d[k]);
        // Each thread reads back below what it writes here, and nothing else.
        residual.write(i as usize, F32x4(sum));
        squares += square_sum(sum);
        i += THREADS;
    }
    normalise(
        out.offset(start),
        residual.as_const(),
        weight,
        squares,
        width,
        eps,
    );
}

macro_rules! kernels {
    ($($rmsnorm:ident, $add_rmsnorm:ident, $element:ty;)*) => {$(
        /// `out = x / sqrt(mean(x²) + eps) · weight`, row by row: `out`, `x` `[rows, width]`,
        /// `weight [width]`.
        ///
        /// Grid `(rows)`, block `(THREADS)`.
        #[kernel(max_threads = THREADS)]
        pub fn $rmsnorm(
            out: GlobalMut<$element>,
            x: Global<f32>,
            weight: Global<f32>,
            width: u32,
            eps: f32,
        ) {
            rmsnorm(out, x, weight, width, eps);
        }

        /// `residual += delta`, then `out` as of the plain kernel, of the new `residual`: all
        /// `[rows, width]`.
        ///
        /// Grid `(rows)`, block `(THREADS)`.
        #[kernel(max_threads = THREADS)]
        pub fn $add_rmsnorm(
            out: GlobalMut<$element>,
            residual: GlobalMut<f32>,
            delta: Global<f32>,
            weight: Global<f32>,
            width: u32,
            eps: f32,
        ) {
            add_rmsnorm(out, residual, delta, weight, width, eps);
        }
    )*};
}

kernels! {
    rmsnorm_bf16, add_rmsnorm_bf16, bf16;
    rmsnorm_f16, add_rmsnorm_f16, f16;
}
