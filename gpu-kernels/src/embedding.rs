//! Token ids to rows of the residual stream.

use cuda_std::{F32x4, Float16, Global, GlobalMut, U32x2, bf16, f16, grid, kernel, thread};

/// Threads of a block.
pub const THREADS: u32 = 128;

#[inline(always)]
fn embed<T: Float16>(out: GlobalMut<f32>, table: Global<T>, ids: Global<u32>, width: u32) {
    let row = thread::block_idx_x() as usize;
    let id = ids.read(row) as usize;
    let source = table.offset(id * width as usize).cast::<U32x2>();
    let target = out.offset(row * width as usize).cast::<F32x4>();
    let mut i = thread::thread_idx_x();
    while i < width / 4 {
        let [low, high] = source.read(i as usize).0;
        let ([a, b], [c, d]) = (T::unpack(low), T::unpack(high));
        target.write(i as usize, F32x4([a, b, c, d]));
        i += THREADS;
    }
}

macro_rules! kernels {
    ($($name:ident, $element:ty;)*) => {$(
        /// `out[i] = table[ids[i]]`: `out [rows, width]`, `table [vocabulary, width]`.
        ///
        /// Grid `(rows)`, block `(THREADS)`. Every id is less than the vocabulary.
        #[kernel(max_threads = THREADS)]
        pub fn $name(
            out: GlobalMut<f32>,
            table: Global<$element>,
            ids: Global<u32>,
            width: u32,
        ) {
            grid::take_turn();
            embed(out, table, ids, width);
        }
    )*};
}

kernels! {
    embed_bf16, bf16;
    embed_f16, f16;
}
