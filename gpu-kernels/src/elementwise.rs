//! What is done to each element by itself.

use cuda_std::{F32x4, Float16, Global, GlobalMut, U32x2, bf16, f16, grid, kernel, thread};

/// Threads of a block. Each takes four elements: grid `(ceil(count / 4 / THREADS))`.
pub const THREADS: u32 = 256;

/// `x += y`: both `[count]`, `count` a multiple of 4.
///
/// Grid `(ceil(count / 4 / THREADS))`, block `(THREADS)`.
#[kernel(max_threads = THREADS)]
pub fn add(x: GlobalMut<f32>, y: Global<f32>, count: u64) {
    grid::take_turn();
    let i = index();
    if i < count / 4 {
        let (x, y) = (x.cast::<F32x4>(), y.cast::<F32x4>());
        let (a, b) = (x.read(i as usize).0, y.read(i as usize).0);
        x.write(i as usize, F32x4([0, 1, 2, 3].map(|k| a[k] + b[k])));
    }
}

/// The thread's index in a grid of more threads than 32 bits count.
#[inline(always)]
fn index() -> u64 {
    u64::from(thread::block_idx_x()) * u64::from(THREADS) + u64::from(thread::thread_idx_x())
}

#[inline(always)]
fn narrow<T: Float16>(out: GlobalMut<T>, x: Global<f32>, count: u64) {
    let i = index();
    if i < count / 4 {
        let x = x.cast::<F32x4>().read(i as usize).0;
        let words = U32x2([T::pack(x[0], x[1]), T::pack(x[2], x[3])]);
        out.cast::<U32x2>().write(i as usize, words);
    }
}

macro_rules! kernels {
    ($($name:ident, $element:ty;)*) => {$(
        /// `out = x`, rounded: both `[count]`, `count` a multiple of 4.
        ///
        /// Grid `(ceil(count / 4 / THREADS))`, block `(THREADS)`.
        #[kernel(max_threads = THREADS)]
        pub fn $name(out: GlobalMut<$element>, x: Global<f32>, count: u64) {
            grid::take_turn();
            narrow(out, x, count);
        }
    )*};
}

kernels! {
    narrow_bf16, bf16;
    narrow_f16, f16;
}
