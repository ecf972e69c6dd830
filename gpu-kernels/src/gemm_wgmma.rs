//! Matrix products by warpgroups, for many rows: on Hopper alone.
//!
//! One thread copies tiles of `x` and `w` through a ring of stages; two warpgroups multiply them,
//! each 64 rows. Blocks stay: each computes one tile of the product after the other, so that the
//! copies of the next tile are under way while the last one is written.

use cuda_std::{
    F32x2, Float16, Global, GlobalMut, Shared, TensorMap, bf16, bulk_copy, f16, kernel,
    swizzled_shared, thread, warp, wgmma,
};

use crate::ring::{Place, Ring};

/// Columns of `x` and `w` that one stage holds: those of a box.
const DEPTH: u32 = bulk_copy::BOX_COLUMNS;

/// Warpgroups that multiply.
const CONSUMERS: u32 = 2;

/// Threads of a block: the consumers, and a warpgroup whose first thread copies.
pub const THREADS: u32 = (CONSUMERS + 1) * wgmma::THREADS;

/// Rows of the product that a block computes at once, and of the box of `x`.
pub const ROWS: u32 = CONSUMERS * wgmma::ROWS;

/// Registers of a thread that copies, and of one that multiplies: 128 × 40 + 256 × 232 fit one
/// multiprocessor.
const PRODUCER_REGISTERS: u32 = 40;
const CONSUMER_REGISTERS: u32 = 232;

/// Tiles that lie below each other and are computed together, so that what the blocks of a moment
/// read of `x` and `w` is little and stays in the L2 cache.
const BAND: u32 = 8;

/// Bytes of a row of a box.
const ROW_BYTES: u32 = DEPTH * 2;

/// How a kernel of this file is launched: as many blocks as the device has multiprocessors, at most
/// as many as there are tiles.
#[derive(Clone, Copy, Debug)]
pub struct TileShape {
    /// Rows of a tile, and of the box of `x`.
    pub rows: u32,
    /// Columns of a tile, and rows of the box of `w`.
    pub columns: u32,
    /// Bytes of dynamic shared memory.
    pub shared_bytes: u32,
}

/// Tiles of 128 rows and `2 · SUMS` columns, and the stages of their copies.
struct Shape<const SUMS: usize, const STAGES: u32>;

type Wide = Shape<128, 4>;
type Narrow = Shape<64, 6>;

/// The kernels `gemm_wgmma_256_*`.
pub const WIDE: TileShape = Wide::TILE;

/// The kernels `gemm_wgmma_128_*`.
pub const NARROW: TileShape = Narrow::TILE;

/// The tiles of a product.
#[derive(Clone, Copy)]
struct Tiles {
    down: u32,
    across: u32,
    columns: u32,
}

impl Tiles {
    /// The first row and column of a tile: down a band of tiles, then its next column.
    #[inline(always)]
    fn corner(&self, index: u32) -> [u32; 2] {
        let band = index / (BAND * self.across);
        let place = index % (BAND * self.across);
        let height = (self.down - band * BAND).min(BAND);
        let (row, column) = (band * BAND + place % height, place / height);
        [row * ROWS, column * self.columns]
    }

    /// Calls `work` for the tiles of this block.
    #[inline(always)]
    fn for_each(&self, mut work: impl FnMut([u32; 2])) {
        let mut index = thread::block_idx_x();
        while index < self.down * self.across {
            work(self.corner(index));
            index += thread::grid_dim_x();
        }
    }
}

/// What a product writes.
#[derive(Clone, Copy)]
struct Output {
    out: GlobalMut<f32>,
    bias: Global<f32>,
    m: u32,
    n: u32,
}

impl Output {
    /// Writes the warpgroup's sums, whose first element is at a row and a column.
    #[inline(always)]
    fn write<const SUMS: usize>(&self, sums: &[f32; SUMS], [row, column]: [u32; 2]) {
        let lane = warp::lane_id();
        let row = row + warp::warp_id() % 4 * 16 + lane / 4;
        let column = column + lane % 4 * 2;
        let out = self
            .out
            .offset(row as usize * self.n as usize + column as usize);
        for tile in 0..SUMS / 4 {
            let column = column + 8 * tile as u32;
            if column < self.n {
                let [b0, b1] = self.bias(column);
                for half in 0..2 {
                    if row + 8 * half < self.m {
                        let place = 4 * tile + 2 * half as usize;
                        let pair = F32x2([sums[place] + b0, sums[place + 1] + b1]);
                        let offset = 8 * (half * self.n) as usize + 8 * tile;
                        out.offset(offset).cast().write(0, pair);
                    }
                }
            }
        }
    }

    /// The bias of a column and the next.
    #[inline(always)]
    fn bias(&self, column: u32) -> [f32; 2] {
        if self.bias.address() == 0 {
            return [0.0; 2];
        }
        self.bias.offset(column as usize).cast::<F32x2>().read(0).0
    }
}

impl<const SUMS: usize, const STAGES: u32> Shape<SUMS, STAGES>
where
    [f32; SUMS]: wgmma::Sums,
{
    const COLUMNS: u32 = 2 * SUMS as u32;
    const STAGE_BYTES: u32 = (ROWS + Self::COLUMNS) * ROW_BYTES;
    const TILE: TileShape = TileShape {
        rows: ROWS,
        columns: Self::COLUMNS,
        shared_bytes: STAGES * Self::STAGE_BYTES + Ring::<STAGES>::BYTES,
    };

    /// The boxes of a stage: of `x` and of `w`.
    #[inline(always)]
    fn boxes<T: Float16>(stage: u32) -> [Shared<T>; 2] {
        let start = stage * Self::STAGE_BYTES;
        [
            swizzled_shared(start),
            swizzled_shared(start + ROWS * ROW_BYTES),
        ]
    }

    /// Copies the boxes of all tiles, each as soon as a stage is free.
    #[inline(always)]
    fn produce<T: Float16>(ring: Ring<STAGES>, x: TensorMap, w: TensorMap, tiles: Tiles, k: u32) {
        let mut place = Place::FIRST;
        tiles.for_each(|[row, column]| {
            let mut depth = 0;
            while depth < k {
                let [x_box, w_box] = Self::boxes::<T>(place.stage);
                let filled = ring.filled(place.stage);
                ring.wait_free(place);
                filled.arrive_expecting(Self::STAGE_BYTES);
                x.copy(x_box, [depth, row], filled);
                w.copy(w_box, [depth, column], filled);
                place.advance();
                depth += DEPTH;
            }
        });
    }

    /// Multiplies and writes 64 rows of all tiles.
    #[inline(always)]
    fn consume<T: Float16>(
        ring: Ring<STAGES>,
        output: Output,
        tiles: Tiles,
        k: u32,
        consumer: u32,
    ) {
        let mut place = Place::FIRST;
        let first_row = consumer * wgmma::ROWS;
        tiles.for_each(|[row, column]| {
            let mut sums = [0.0; SUMS];
            let mut depth = 0;
            while depth < k {
                let [x_box, w_box] = Self::boxes::<T>(place.stage);
                let x_tile = wgmma::Tile::new(x_box.offset(first_row * DEPTH));
                ring.wait_filled(place);
                wgmma::multiply::<T, _>(&mut sums, x_tile, wgmma::Tile::new(w_box));
                if warp::lane_id() == 0 {
                    ring.used(place.stage).arrive();
                }
                place.advance();
                depth += DEPTH;
            }
            output.write(&sums, [row + first_row, column]);
        });
    }

    /// The whole kernel.
    #[inline(always)]
    fn run<T: Float16>(output: Output, x: TensorMap, w: TensorMap, k: u32) {
        let tiles = Tiles {
            down: output.m.div_ceil(ROWS),
            across: output.n.div_ceil(Self::COLUMNS),
            columns: Self::COLUMNS,
        };
        let ring = Ring(swizzled_shared(STAGES * Self::STAGE_BYTES));
        ring.init(1, CONSUMERS * wgmma::THREADS / warp::SIZE);
        let warpgroup = wgmma::warpgroup_id();
        if warpgroup == CONSUMERS {
            wgmma::give_registers::<PRODUCER_REGISTERS>();
            if thread::thread_idx_x() == CONSUMERS * wgmma::THREADS {
                x.prefetch();
                w.prefetch();
                Self::produce::<T>(ring, x, w, tiles, k);
            }
        } else {
            wgmma::take_registers::<CONSUMER_REGISTERS>();
            Self::consume::<T>(ring, output, tiles, k, warpgroup);
        }
    }
}

macro_rules! kernels {
    ($($name:ident, $shape:ty, $element:ty;)*) => {$(
        /// `out = x · wᵀ + bias`: `out [m, n]`, `bias [n]` or null; the maps of `x [m, k]` and
        /// `w [n, k]` have boxes of as many rows as [`TileShape`] says.
        ///
        /// `n` and `k` are multiples of 8. Grid, block and dynamic shared memory: see
        /// [`TileShape`] and [`THREADS`].
        #[kernel(max_threads = THREADS)]
        pub fn $name(
            out: GlobalMut<f32>,
            x: TensorMap,
            w: TensorMap,
            bias: Global<f32>,
            m: u32,
            n: u32,
            k: u32,
        ) {
            <$shape>::run::<$element>(Output { out, bias, m, n }, x, w, k);
        }
    )*};
}

kernels! {
    gemm_wgmma_256_bf16, Wide, bf16;
    gemm_wgmma_256_f16, Wide, f16;
    gemm_wgmma_128_bf16, Narrow, bf16;
    gemm_wgmma_128_f16, Narrow, f16;
}
