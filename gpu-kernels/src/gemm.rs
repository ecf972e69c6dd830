//! Matrix products by tensor cores, for many rows.

use cuda_std::{
    Float16, Global, GlobalMut, async_copy, bf16, dynamic_shared, f16, kernel, thread, warp,
};

use crate::tile::Tile;

/// Columns of `x` and `w` that one stage holds.
const DEPTH: u32 = 32;

/// Stages: one in use, the others on their way.
const STAGES: u32 = 4;

/// How a kernel of this file is launched: grid `(ceil(n / columns), ceil(m / rows))`.
#[derive(Clone, Copy, Debug)]
pub struct TileShape {
    /// Rows of the product that a block computes.
    pub rows: u32,
    /// Columns of the product that a block computes.
    pub columns: u32,
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of dynamic shared memory.
    pub shared_bytes: u32,
}

/// The shape of a block's work: warps stand `WARPS_M × WARPS_N`, and each computes `16 · MT` rows
/// and `8 · NT` columns.
struct Shape<const WARPS_M: u32, const WARPS_N: u32, const MT: usize, const NT: usize>;

impl<const WARPS_M: u32, const WARPS_N: u32, const MT: usize, const NT: usize>
    Shape<WARPS_M, WARPS_N, MT, NT>
{
    const ROWS: u32 = WARPS_M * 16 * MT as u32;
    const COLUMNS: u32 = WARPS_N * 8 * NT as u32;
    const THREADS: u32 = WARPS_M * WARPS_N * warp::SIZE;
    const STAGE_BYTES: u32 = Tile::<bf16, DEPTH>::bytes(Self::ROWS + Self::COLUMNS);
    const TILE: TileShape = TileShape {
        rows: Self::ROWS,
        columns: Self::COLUMNS,
        threads: Self::THREADS,
        shared_bytes: Self::STAGE_BYTES * STAGES,
    };
}

type Large = Shape<2, 4, 4, 4>;
type Small = Shape<1, 4, 2, 2>;

/// The kernels `gemm_large_*`, for hundreds of rows and more.
pub const LARGE: TileShape = Large::TILE;

/// The kernels `gemm_small_*`, for tens of rows.
pub const SMALL: TileShape = Small::TILE;

/// The operands of a product.
struct Operands<T> {
    x: Global<T>,
    w: Global<T>,
    m: u32,
    n: u32,
    k: u32,
}

impl<const WARPS_M: u32, const WARPS_N: u32, const MT: usize, const NT: usize>
    Shape<WARPS_M, WARPS_N, MT, NT>
{
    /// The tiles of one stage: rows of `x`, rows of `w`.
    #[inline(always)]
    fn stage<T: Float16>(index: u32) -> (Tile<T, DEPTH>, Tile<T, DEPTH>) {
        let start = index % STAGES * Self::STAGE_BYTES;
        let w = start + Tile::<T, DEPTH>::bytes(Self::ROWS);
        (Tile(dynamic_shared(start)), Tile(dynamic_shared(w)))
    }

    /// Starts the copies of step `step`, as one group; past the last step the group is empty.
    #[inline(always)]
    fn start_step<T: Float16>(operands: &Operands<T>, row: u32, column: u32, step: u32) {
        let Operands { x, w, m, n, k } = *operands;
        let depth = step * DEPTH;
        if depth < k {
            let (x_tile, w_tile) = Self::stage::<T>(step);
            let source = |matrix: Global<T>, index: u32, count: u32| {
                let valid = if index < count { k - depth } else { 0 };
                // A row past the last keeps a valid address, and reads nothing from it.
                let index = if index < count { index } else { 0 };
                (
                    matrix.offset(index as usize * k as usize + depth as usize),
                    valid,
                )
            };
            x_tile.start_copy(Self::ROWS, Self::THREADS, |i| source(x, row + i, m));
            w_tile.start_copy(Self::COLUMNS, Self::THREADS, |i| source(w, column + i, n));
        }
        async_copy::commit();
    }

    /// Adds the product of one stage.
    #[inline(always)]
    fn multiply<T: Float16>(sums: &mut [[[f32; 4]; NT]; MT], step: u32, row: u32, column: u32) {
        let (x_tile, w_tile) = Self::stage::<T>(step);
        for half in 0..2 {
            let depth = 16 * half;
            let mut a = [[0; 4]; MT];
            for (i, words) in a.iter_mut().enumerate() {
                *words = x_tile.a(row + 16 * i as u32, depth);
            }
            for j in (0..NT).step_by(2) {
                let [b0, b1] = w_tile.b_pair(column + 8 * j as u32, depth);
                for i in 0..MT {
                    T::mma_m16n8k16(&mut sums[i][j], a[i], b0);
                    T::mma_m16n8k16(&mut sums[i][j + 1], a[i], b1);
                }
            }
        }
    }

    /// Writes the warp's part of the product, whose first element is at `row`, `column`.
    #[inline(always)]
    fn write(
        out: GlobalMut<f32>,
        bias: Global<f32>,
        sums: &[[[f32; 4]; NT]; MT],
        (m, n): (u32, u32),
        (row, column): (u32, u32),
    ) {
        let row = row + warp::lane_id() / 4;
        let column = column + warp::lane_id() % 4 * 2;
        for tile in 0..2 * NT {
            let (tile, side) = (tile / 2, tile % 2);
            let column = column + (8 * tile + side) as u32;
            if column < n {
                let bias = if bias.address() == 0 {
                    0.0
                } else {
                    bias.read(column as usize)
                };
                for half in 0..2 * MT {
                    let row = row + 8 * half as u32;
                    let sum = sums[half / 2][tile][half % 2 * 2 + side] + bias;
                    if row < m {
                        out.write(row as usize * n as usize + column as usize, sum);
                    }
                }
            }
        }
    }

    /// The whole kernel: fills stages ahead of the one it multiplies.
    #[inline(always)]
    fn run<T: Float16>(out: GlobalMut<f32>, operands: &Operands<T>, bias: Global<f32>) {
        let row = thread::block_idx_y() * Self::ROWS;
        let column = thread::block_idx_x() * Self::COLUMNS;
        let warp = warp::warp_id();
        let warp_row = warp / WARPS_N * 16 * MT as u32;
        let warp_column = warp % WARPS_N * 8 * NT as u32;
        for step in 0..STAGES - 1 {
            Self::start_step(operands, row, column, step);
        }
        let mut sums = [[[0.0; 4]; NT]; MT];
        let mut step = 0;
        while step * DEPTH < operands.k {
            async_copy::wait::<{ STAGES - 2 }>();
            // The stage is there for all, and all have left the one that is filled next.
            thread::sync_threads();
            Self::start_step(operands, row, column, step + STAGES - 1);
            Self::multiply::<T>(&mut sums, step, warp_row, warp_column);
            step += 1;
        }
        let size = (operands.m, operands.n);
        Self::write(
            out,
            bias,
            &sums,
            size,
            (row + warp_row, column + warp_column),
        );
    }
}

macro_rules! kernels {
    ($($name:ident, $shape:ty, $element:ty;)*) => {$(
        /// `out = x · wᵀ + bias`: `out [m, n]`, `x [m, k]`, `w [n, k]`, `bias [n]` or null.
        ///
        /// `k` is a multiple of 8. Grid, block and dynamic shared memory: see [`TileShape`].
        #[kernel(max_threads = <$shape>::THREADS, min_blocks = 2)]
        pub fn $name(
            out: GlobalMut<f32>,
            x: Global<$element>,
            w: Global<$element>,
            bias: Global<f32>,
            m: u32,
            n: u32,
            k: u32,
        ) {
            <$shape>::run(out, &Operands { x, w, m, n, k }, bias);
        }
    )*};
}

kernels! {
    gemm_large_bf16, Large, bf16;
    gemm_large_f16, Large, f16;
    gemm_small_bf16, Small, bf16;
    gemm_small_f16, Small, f16;
}
