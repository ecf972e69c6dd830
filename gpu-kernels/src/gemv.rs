//! Matrix products for a few rows: bound by reading the weights once.

use cuda_std::{Float16, Global, GlobalMut, U32x4, bf16, f16, grid, kernel, math, thread, warp};

/// Threads of a block.
pub const THREADS: u32 = 128;

/// Rows of `w` that a warp reads at once.
const W_ROWS: usize = 2;

/// Rows of `w` that a block handles: grid `(ceil(n / COLUMNS_PER_BLOCK))`.
pub const COLUMNS_PER_BLOCK: u32 = THREADS / warp::SIZE * W_ROWS as u32;

/// Elements of a row that a warp reads in one step.
const STEP: u32 = warp::SIZE * 8;

/// The sum of eight products.
#[inline(always)]
fn dot<T: Float16>(x: U32x4, w: U32x4, mut sum: f32) -> f32 {
    for i in 0..4 {
        let ([x0, x1], [w0, w1]) = (T::unpack(x.0[i]), T::unpack(w.0[i]));
        sum = math::fma(x1, w1, math::fma(x0, w0, sum));
    }
    sum
}

#[inline(always)]
fn gemv<T: Float16, const M: usize>(
    out: GlobalMut<f32>,
    x: Global<T>,
    w: Global<T>,
    bias: Global<f32>,
    m: u32,
    n: u32,
    k: u32,
) {
    let first = (thread::block_idx_x() * (THREADS / warp::SIZE) + warp::warp_id()) * W_ROWS as u32;
    if first >= n {
        return;
    }
    // A row past the last is computed as the last one, and not written.
    let w_rows: [_; W_ROWS] = core::array::from_fn(|j| {
        w.offset((first + j as u32).min(n - 1) as usize * k as usize)
            .cast::<U32x4>()
    });
    let x_rows: [_; M] = core::array::from_fn(|i| {
        x.offset((i as u32).min(m - 1) as usize * k as usize)
            .cast::<U32x4>()
    });
    let mut sums = [[0.0; W_ROWS]; M];
    let mut column = warp::lane_id() * 8;
    while column < k {
        let unit = (column / 8) as usize;
        let weights = w_rows.map(|row| row.read_streaming(unit));
        for i in 0..M {
            let x = x_rows[i].read(unit);
            for j in 0..W_ROWS {
                sums[i][j] = dot::<T>(x, weights[j], sums[i][j]);
            }
        }
        column += STEP;
    }
    for (i, row) in sums.iter().enumerate() {
        for (j, &sum) in row.iter().enumerate() {
            let sum = warp::warp_sum(sum);
            let column = first + j as u32;
            if warp::lane_id() == 0 && (i as u32) < m && column < n {
                let bias = if bias.address() == 0 {
                    0.0
                } else {
                    bias.read(column as usize)
                };
                out.write(i * n as usize + column as usize, sum + bias);
            }
        }
    }
}

macro_rules! kernels {
    ($($name:ident, $element:ty, $m:literal;)*) => {$(
        /// `out = x · wᵀ + bias` for at most as many rows as the name says: `out [m, n]`,
        /// `x [m, k]`, `w [n, k]`, `bias [n]` or null.
        ///
        /// `m` is at least 1, `k` a multiple of 8. Grid `(ceil(n / COLUMNS_PER_BLOCK))`, block
        /// `(THREADS)`.
        #[kernel(max_threads = THREADS)]
        pub fn $name(
            out: GlobalMut<f32>,
            x: Global<$element>,
            w: Global<$element>,
            bias: Global<f32>,
            m: u32,
            n: u32,
            k: u32,
        ) {
            grid::take_turn();
            gemv::<$element, $m>(out, x, w, bias, m, n, k);
        }
    )*};
}

kernels! {
    gemv_1_bf16, bf16, 1;
    gemv_2_bf16, bf16, 2;
    gemv_4_bf16, bf16, 4;
    gemv_8_bf16, bf16, 8;
    gemv_1_f16, f16, 1;
    gemv_2_f16, f16, 2;
    gemv_4_f16, f16, 4;
    gemv_8_f16, f16, 8;
}
