//! Matrix products for up to 64 rows: bound by reading the weights once.
//!
//! Tensor cores multiply what threads load straight into registers: the rows of `w` are rows of
//! their A, the rows of `x` columns of their B. The order of `k` in a product is free as long as
//! both sides have the same; so each lane loads 16 bytes where they lie, of one row of each, and
//! its words go through two products. The warps of a block share rows of `w` and divide `k`.

mod output;

use cuda_std::{
    Float16, Global, GlobalMut, U32x4, bf16, dynamic_shared, f16, kernel, thread, warp,
};

use output::{Output, Partial, write_gated};

/// Warps of a block, among which `k` is divided.
const SLICES: u32 = 8;

/// Threads of a block.
pub const THREADS: u32 = SLICES * warp::SIZE;

/// Elements of `k` that a lane's load covers, with the three lanes beside it.
const LANES_DEPTH: u32 = 32;

/// Elements that keep the rows of partial sums in different banks.
const PADDING: u32 = 4;

/// How a kernel of this file is launched: grid `(ceil(n / columns))`, block `(THREADS)`.
#[derive(Clone, Copy, Debug)]
pub struct SkinnyShape {
    /// The most rows of the product.
    pub rows: u32,
    /// Columns of the product that a block computes.
    pub columns: u32,
    /// Bytes of dynamic shared memory.
    pub shared_bytes: u32,
}

impl SkinnyShape {
    /// The shape of the kernel that also applies the gate: half of the rows of `w` that a block
    /// reads are of the other matrix.
    pub const fn gated(self) -> Self {
        Self {
            columns: self.columns / 2,
            ..self
        }
    }
}

/// `8 · XT` rows of `x`; a block has `16 · WT` rows of `w`, of which a lane loads `16 · LOADS`
/// bytes each while it multiplies as many.
struct Shape<const XT: usize, const WT: usize, const LOADS: usize>;

type Rows8 = Shape<1, 1, 4>;
type Rows16 = Shape<2, 2, 2>;
type Rows32 = Shape<4, 2, 2>;
type Rows64 = Shape<8, 2, 1>;

/// The kernels `gemm_skinny_8_*`, and those for more rows.
pub const SHAPES: [SkinnyShape; 4] = [
    Rows8::SKINNY,
    Rows16::SKINNY,
    Rows32::SKINNY,
    Rows64::SKINNY,
];

/// The operands of a product: `x [m, k]`, and rows of weights of `k` elements.
#[derive(Clone, Copy)]
struct Operands<T> {
    x: Global<T>,
    m: u32,
    k: u32,
    /// Of each 16 rows of a block, what the first eight and the other eight are rows of.
    w: [Global<T>; 2],
    /// Rows from the first of the first eight to the first of the others.
    w_between: u32,
    /// Rows from one 16 to the next.
    w_step: u32,
    /// The last row of the weights.
    w_last: u32,
}

/// Sixteen bytes of a row, or zeros past its end.
#[inline(always)]
fn load(row: Global<U32x4>, column: u32, k: u32, streaming: bool) -> [u32; 4] {
    if column >= k {
        return [0; 4];
    }
    let unit = (column / 8) as usize;
    match streaming {
        true => row.read_streaming(unit).0,
        false => row.read(unit).0,
    }
}

impl<const XT: usize, const WT: usize, const LOADS: usize> Shape<XT, WT, LOADS> {
    const X_ROWS: u32 = 8 * XT as u32;
    const W_ROWS: u32 = 16 * WT as u32;
    /// Blocks on a multiprocessor: two where their registers fit.
    const BLOCKS: u32 = if XT <= 2 { 2 } else { 1 };
    /// Elements of `k` between the steps of a warp.
    const STEP: u32 = LANES_DEPTH * LOADS as u32;
    const SKINNY: SkinnyShape = SkinnyShape {
        rows: Self::X_ROWS,
        columns: Self::W_ROWS,
        shared_bytes: SLICES * Self::X_ROWS * (Self::W_ROWS + PADDING) * 4,
    };

    /// The lane's row of each eight rows of weights.
    #[inline(always)]
    fn w_rows<T: Float16>(operands: &Operands<T>, first: u32) -> [[Global<U32x4>; 2]; WT] {
        let group = warp::lane_id() / 4;
        core::array::from_fn(|tile| {
            let row = first + tile as u32 * operands.w_step + group;
            // A row past the last is computed as the last one, and not written.
            let place = |row: u32| row.min(operands.w_last) as usize * operands.k as usize;
            let [low, high] = operands.w;
            [
                low.offset(place(row)).cast(),
                high.offset(place(row + operands.w_between)).cast(),
            ]
        })
    }

    #[inline(always)]
    fn load_weights(
        rows: &[[Global<U32x4>; 2]; WT],
        column: u32,
        k: u32,
    ) -> [[[[u32; 4]; 2]; WT]; LOADS] {
        let mut words = [[[[0; 4]; 2]; WT]; LOADS];
        for (i, words) in words.iter_mut().enumerate() {
            for (words, rows) in words.iter_mut().zip(rows) {
                for (words, row) in words.iter_mut().zip(rows) {
                    *words = load(*row, column + LANES_DEPTH * i as u32, k, true);
                }
            }
        }
        words
    }

    /// The warp's share of the product.
    #[inline(always)]
    fn sums<T: Float16>(operands: &Operands<T>, first: u32) -> [[[f32; 4]; XT]; WT] {
        let k = operands.k;
        let w_rows = Self::w_rows(operands, first);
        let x_rows: [Global<U32x4>; XT] = core::array::from_fn(|tile| {
            let row = (8 * tile as u32 + warp::lane_id() / 4).min(operands.m - 1);
            operands.x.offset(row as usize * k as usize).cast()
        });
        let mut sums = [[[0.0; 4]; XT]; WT];
        let mut column = warp::warp_id() * Self::STEP + warp::lane_id() % 4 * 8;
        let mut weights = Self::load_weights(&w_rows, column, k);
        // Lanes of one product must stay together, so that the condition is the warp's.
        while column - warp::lane_id() % 4 * 8 < k {
            let next = column + SLICES * Self::STEP;
            let ahead = Self::load_weights(&w_rows, next, k);
            for (i, weights) in weights.iter().enumerate() {
                for (tile, x_row) in x_rows.iter().enumerate() {
                    let x = load(*x_row, column + LANES_DEPTH * i as u32, k, false);
                    for (sums, [low, high]) in sums.iter_mut().zip(weights) {
                        let sum = &mut sums[tile];
                        T::mma_m16n8k16(sum, [low[0], high[0], low[1], high[1]], [x[0], x[1]]);
                        T::mma_m16n8k16(sum, [low[2], high[2], low[3], high[3]], [x[2], x[3]]);
                    }
                }
            }
            weights = ahead;
            column = next;
        }
        sums
    }

    /// Computes the block's part of the product, and calls `write` with it.
    #[inline(always)]
    fn run<T: Float16>(operands: &Operands<T>, first: u32, write: impl FnOnce(Partial)) {
        let partial = Partial {
            start: dynamic_shared(0),
            x_rows: Self::X_ROWS,
            w_rows: Self::W_ROWS,
        };
        let sums = Self::sums(operands, first);
        let (group, pair) = (warp::lane_id() / 4, warp::lane_id() % 4);
        for (w_tile, sums) in sums.iter().enumerate() {
            for (x_tile, sums) in sums.iter().enumerate() {
                for (e, &sum) in sums.iter().enumerate() {
                    let x_row = 8 * x_tile as u32 + 2 * pair + e as u32 % 2;
                    let w_row = 16 * w_tile as u32 + group + e as u32 / 2 * 8;
                    partial.at(warp::warp_id(), x_row, w_row).write(0, sum);
                }
            }
        }
        thread::sync_threads();
        write(partial);
    }
}

macro_rules! products {
    ($($name:ident, $shape:ty, $element:ty;)*) => {$(
        /// `out = x · wᵀ + bias + residual` for at most as many rows as the name says: `out [m, n]`,
        /// `x [m, k]`, `w [n, k]`, `bias [n]` or null, `residual [m, n]` or null; `residual` may be
        /// `out`.
        ///
        /// `m` is at least 1, `k` a multiple of 8. Grid, block and dynamic shared memory: see
        /// [`SkinnyShape`].
        #[kernel(max_threads = THREADS, min_blocks = <$shape>::BLOCKS)]
        pub fn $name(
            out: GlobalMut<f32>,
            x: Global<$element>,
            w: Global<$element>,
            bias: Global<f32>,
            residual: Global<f32>,
            m: u32,
            n: u32,
            k: u32,
        ) {
            let first = thread::block_idx_x() * <$shape>::W_ROWS;
            let (w, w_last) = ([w, w], n - 1);
            let operands = Operands { x, m, k, w, w_between: 8, w_step: 16, w_last };
            let output = Output { out, bias, residual, m, n };
            <$shape>::run(&operands, first, |partial| output.write(partial, first));
        }
    )*};
}

products! {
    gemm_skinny_8_bf16, Rows8, bf16;
    gemm_skinny_16_bf16, Rows16, bf16;
    gemm_skinny_32_bf16, Rows32, bf16;
    gemm_skinny_64_bf16, Rows64, bf16;
    gemm_skinny_8_f16, Rows8, f16;
    gemm_skinny_16_f16, Rows16, f16;
    gemm_skinny_32_f16, Rows32, f16;
    gemm_skinny_64_f16, Rows64, f16;
}

macro_rules! gated_products {
    ($($name:ident, $shape:ty, $element:ty;)*) => {$(
        /// `out = silu(x · gateᵀ) · (x · upᵀ)` for at most as many rows as the name says:
        /// `out [m, n]`, `x [m, k]`, `gate` and `up` `[n, k]`.
        ///
        /// `m` is at least 1, `k` a multiple of 8. Grid, block and dynamic shared memory: see
        /// [`SkinnyShape::gated`].
        #[kernel(max_threads = THREADS, min_blocks = <$shape>::BLOCKS)]
        pub fn $name(
            out: GlobalMut<$element>,
            x: Global<$element>,
            gate: Global<$element>,
            up: Global<$element>,
            m: u32,
            n: u32,
            k: u32,
        ) {
            let first = thread::block_idx_x() * (<$shape>::W_ROWS / 2);
            let (w, w_last) = ([gate, up], n - 1);
            let operands = Operands { x, m, k, w, w_between: 0, w_step: 8, w_last };
            <$shape>::run(&operands, first, |partial| write_gated(out, partial, (m, n), first));
        }
    )*};
}

gated_products! {
    gemm_skinny_gated_8_bf16, Rows8, bf16;
    gemm_skinny_gated_16_bf16, Rows16, bf16;
    gemm_skinny_gated_32_bf16, Rows32, bf16;
    gemm_skinny_gated_64_bf16, Rows64, bf16;
    gemm_skinny_gated_8_f16, Rows8, f16;
    gemm_skinny_gated_16_f16, Rows16, f16;
    gemm_skinny_gated_32_f16, Rows32, f16;
    gemm_skinny_gated_64_f16, Rows64, f16;
}
