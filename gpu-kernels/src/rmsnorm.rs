//! RMSNorm.

use cuda_std::{
    F32x4, Float16, Global, GlobalMut, U32x2, bf16, f16, grid, kernel, math, shared_array, thread,
};

use crate::reduce::{MAX_WARPS, block_sum};

/// Threads of a block.
pub const THREADS: u32 = 256;

/// Vectors of four elements that a thread keeps in registers: rows of up to 4096 elements are read
/// once, and all of it is under way at the same time.
const KEPT: usize = 4;

/// Vectors of the row that the thread takes at once, of those from `first` on.
#[inline(always)]
fn load(row: Global<F32x4>, first: u32, count: u32) -> [[f32; 4]; KEPT] {
    core::array::from_fn(|i| {
        let i = first + i as u32 * THREADS;
        if i < count {
            row.read(i as usize).0
        } else {
            [0.0; 4]
        }
    })
}

/// Vectors that the block takes at once.
const STEP: u32 = KEPT as u32 * THREADS;

#[inline(always)]
fn square_sum(x: &[[f32; 4]; KEPT]) -> f32 {
    let mut sum = 0.0;
    for x in x {
        sum += x[0] * x[0] + x[1] * x[1] + x[2] * x[2] + x[3] * x[3];
    }
    sum
}

/// Writes the vectors from `first` on, normalised.
#[inline(always)]
fn write<T: Float16>(
    out: GlobalMut<U32x2>,
    (x, weight): (&[[f32; 4]; KEPT], &[[f32; 4]; KEPT]),
    scale: f32,
    (first, count): (u32, u32),
) {
    for (i, (x, w)) in x.iter().zip(weight).enumerate() {
        let i = first + i as u32 * THREADS;
        if i < count {
            let y = [0, 1, 2, 3].map(|k| x[k] * scale * w[k]);
            let words = U32x2([T::pack(y[0], y[1]), T::pack(y[2], y[3])]);
            out.write(i as usize, words);
        }
    }
}

macro_rules! kernels {
    ($($name:ident, $element:ty;)*) => {$(
        /// `out = x / sqrt(mean(x²) + eps) · weight`, row by row: `out`, `x` `[rows, width]`,
        /// `weight [width]`.
        ///
        /// Grid `(rows)`, block `(THREADS)`.
        #[kernel(max_threads = THREADS)]
        pub fn $name(
            out: GlobalMut<$element>,
            x: Global<f32>,
            weight: Global<f32>,
            width: u32,
            eps: f32,
        ) {
            grid::release_next();
            let start = thread::block_idx_x() as usize * width as usize;
            let (x, weight) = (x.offset(start).cast::<F32x4>(), weight.cast::<F32x4>());
            let out = out.offset(start).cast::<U32x2>();
            let (count, mut first) = (width / 4, thread::thread_idx_x());
            let mut kept_weight = load(weight, first, count);
            grid::wait_for_previous();
            let mut kept = load(x, first, count);
            let mut squares = square_sum(&kept);
            let mut i = first + STEP;
            while i < count {
                squares += square_sum(&load(x, i, count));
                i += STEP;
            }
            let sum = block_sum(squares, shared_array![f32; MAX_WARPS]);
            let scale = math::rsqrt(sum / width as f32 + eps);
            loop {
                write::<$element>(out, (&kept, &kept_weight), scale, (first, count));
                first += STEP;
                if first >= count {
                    break;
                }
                kept = load(x, first, count);
                kept_weight = load(weight, first, count);
            }
        }
    )*};
}

kernels! {
    rmsnorm_bf16, bf16;
    rmsnorm_f16, f16;
}
