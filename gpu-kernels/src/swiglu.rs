//! The gate of the feed-forward layer.

use cuda_std::{F32x4, Float16, Global, GlobalMut, U32x2, bf16, f16, grid, kernel, math, thread};

/// Threads of a block.
pub const THREADS: u32 = 256;

#[inline(always)]
pub(crate) fn silu(x: f32) -> f32 {
    x * math::reciprocal(1.0 + math::exp(-x))
}

#[inline(always)]
fn swiglu<T: Float16>(
    out: GlobalMut<T>,
    gate: Global<f32>,
    up: Global<f32>,
    width: u32,
    stride: u32,
) {
    let i = thread::index_1d();
    if i >= width / 4 {
        return;
    }
    let row = thread::block_idx_y() as usize;
    let input = row * stride as usize;
    let gate = gate.offset(input).cast::<F32x4>().read(i as usize).0;
    let up = up.offset(input).cast::<F32x4>().read(i as usize).0;
    let y = [0, 1, 2, 3].map(|k| silu(gate[k]) * up[k]);
    let out = out.offset(row * width as usize).cast::<U32x2>();
    out.write(
        i as usize,
        U32x2([T::pack(y[0], y[1]), T::pack(y[2], y[3])]),
    );
}

macro_rules! kernels {
    ($($name:ident, $element:ty;)*) => {$(
        /// `out = silu(gate) · up`: `out [rows, width]`; `gate` and `up` `[rows, width]`, their
        /// rows `stride` elements apart, so that both may be halves of one matrix.
        ///
        /// Grid `(ceil(width / 4 / THREADS), rows)`, block `(THREADS)`.
        #[kernel(max_threads = THREADS)]
        pub fn $name(
            out: GlobalMut<$element>,
            gate: Global<f32>,
            up: Global<f32>,
            width: u32,
            stride: u32,
        ) {
            grid::take_turn();
            swiglu(out, gate, up, width, stride);
        }
    )*};
}

kernels! {
    swiglu_bf16, bf16;
    swiglu_f16, f16;
}
