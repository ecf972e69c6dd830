//! Matrix products by warpgroups, for many rows: on Hopper alone.
//!
//! One thread copies tiles of `x` and `w` through a ring of stages; two warpgroups multiply them,
//! each 64 rows. Blocks stay: each computes one tile of the product after the other, so that the
//! copies of the next tile are under way while the last one is written.

mod output;
mod tiles;

use cuda_std::{
    Float16, Global, GlobalMut, Shared, TensorMap, bf16, bulk_copy, f16, kernel, swizzled_shared,
    thread, warp, wgmma,
};

use crate::ring::{Place, Ring};
use output::{Gated, Output, Plain};
use tiles::Tiles;

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

/// Bytes of a row of a box.
const ROW_BYTES: u32 = DEPTH * 2;

/// How a kernel of this file is launched.
#[derive(Clone, Copy, Debug)]
pub struct TileShape {
    /// Rows of a tile, and of the box of `x`.
    pub rows: u32,
    /// Columns of a tile, and rows of the boxes of weights.
    pub columns: u32,
    /// Bytes of dynamic shared memory.
    pub shared_bytes: u32,
}

impl TileShape {
    /// Blocks for a product `[m, n]`: as many as the device has multiprocessors, at most as many as
    /// there are tiles.
    pub fn blocks(&self, [m, n]: [u32; 2], multiprocessors: u32) -> u32 {
        let tiles = m
            .div_ceil(self.rows)
            .saturating_mul(n.div_ceil(self.columns));
        tiles.min(multiprocessors)
    }
}

/// Tiles of 128 rows for which a thread has `SUMS` sums, the stages of their copies, and of how many
/// matrices each stage has weights.
struct Shape<const SUMS: usize, const STAGES: u32, const MATRICES: usize>;

type Wide = Shape<128, 4, 1>;
type Narrow = Shape<64, 6, 1>;
type Both = Shape<128, 4, 2>;

/// The kernels `gemm_wgmma_256_*`.
pub const WIDE: TileShape = Wide::TILE;

/// The kernels `gemm_wgmma_128_*`.
pub const NARROW: TileShape = Narrow::TILE;

/// The kernels `gemm_wgmma_gated_*`.
pub const GATED: TileShape = Both::TILE;

/// What is multiplied: `x [m, k]` with each of the weights `[n, k]`.
#[derive(Clone, Copy)]
struct Operands<const MATRICES: usize> {
    x: TensorMap,
    w: [TensorMap; MATRICES],
    m: u32,
    n: u32,
    k: u32,
}

impl<const SUMS: usize, const STAGES: u32, const MATRICES: usize> Shape<SUMS, STAGES, MATRICES>
where
    [f32; SUMS]: wgmma::Sums,
{
    /// Columns of a product in a tile.
    const COLUMNS: u32 = 2 * SUMS as u32 / MATRICES as u32;
    const STAGE_BYTES: u32 = (ROWS + MATRICES as u32 * Self::COLUMNS) * ROW_BYTES;
    const TILE: TileShape = TileShape {
        rows: ROWS,
        columns: Self::COLUMNS,
        shared_bytes: STAGES * Self::STAGE_BYTES + Ring::<STAGES>::BYTES,
    };

    /// The boxes of a stage: of `x`, and of the weights, one matrix after the other.
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
    fn produce<T: Float16>(ring: Ring<STAGES>, operands: &Operands<MATRICES>, tiles: Tiles) {
        let mut place = Place::FIRST;
        tiles.for_each(|[row, column]| {
            let mut depth = 0;
            while depth < operands.k {
                let [x_box, w_box] = Self::boxes::<T>(place.stage);
                let filled = ring.filled(place.stage);
                ring.wait_free(place);
                filled.arrive_expecting(Self::STAGE_BYTES);
                operands.x.copy(x_box, [depth, row], filled);
                for (matrix, w) in operands.w.iter().enumerate() {
                    let w_box = w_box.offset(matrix as u32 * Self::COLUMNS * DEPTH);
                    w.copy(w_box, [depth, column], filled);
                }
                place.advance();
                depth += DEPTH;
            }
        });
    }

    /// The sums of the warpgroup's 64 rows of a tile, of which `place` is the first. While one
    /// product runs the next stage is waited for.
    #[inline(always)]
    fn multiply<T: Float16>(
        ring: Ring<STAGES>,
        place: &mut Place<STAGES>,
        k: u32,
        consumer: u32,
    ) -> [f32; SUMS] {
        let tiles = |place: Place<STAGES>| {
            let [x_box, w_box] = Self::boxes::<T>(place.stage);
            ring.wait_filled(place);
            let x_box = x_box.offset(consumer * wgmma::ROWS * DEPTH);
            (wgmma::Tile::new(x_box), wgmma::Tile::new(w_box))
        };
        let (x_tile, w_tile) = tiles(*place);
        let mut sums = wgmma::Running::start::<T>(x_tile, w_tile);
        let mut running = place.stage;
        place.advance();
        let mut depth = DEPTH;
        while depth < k {
            let (x_tile, w_tile) = tiles(*place);
            sums.add::<T>(x_tile, w_tile);
            ring.leave(running);
            running = place.stage;
            place.advance();
            depth += DEPTH;
        }
        let sums = sums.finish();
        ring.leave(running);
        sums
    }

    /// The whole kernel.
    #[inline(always)]
    fn run<T: Float16>(output: impl Output<SUMS>, operands: &Operands<MATRICES>) {
        let tiles = Tiles::new([operands.m, operands.n], [ROWS, Self::COLUMNS]);
        let ring = Ring(swizzled_shared(STAGES * Self::STAGE_BYTES));
        ring.init(1, CONSUMERS * wgmma::THREADS / warp::SIZE);
        let warpgroup = wgmma::warpgroup_id();
        if warpgroup == CONSUMERS {
            wgmma::give_registers::<PRODUCER_REGISTERS>();
            if thread::thread_idx_x() == CONSUMERS * wgmma::THREADS {
                operands.x.prefetch();
                for w in &operands.w {
                    w.prefetch();
                }
                Self::produce::<T>(ring, operands, tiles);
            }
        } else {
            wgmma::take_registers::<CONSUMER_REGISTERS>();
            let mut place = Place::FIRST;
            tiles.for_each(|[row, column]| {
                let sums = Self::multiply::<T>(ring, &mut place, operands.k, warpgroup);
                output.write(&sums, [row + warpgroup * wgmma::ROWS, column]);
            });
        }
    }
}

macro_rules! plain {
    ($($name:ident, $shape:ty, $element:ty;)*) => {$(
        /// `out = x · wᵀ + bias + residual`: `out [m, n]`, `bias [n]` or null, `residual [m, n]` or
        /// null, which may be `out`; the maps of `x [m, k]` and `w [n, k]` have boxes of as many rows
        /// as [`TileShape`] says.
        ///
        /// `n` and `k` are multiples of 8, `k` is not 0. Grid, block and dynamic shared memory: see
        /// [`TileShape`] and [`THREADS`].
        #[kernel(max_threads = THREADS)]
        pub fn $name(
            out: GlobalMut<f32>,
            x: TensorMap,
            w: TensorMap,
            bias: Global<f32>,
            residual: Global<f32>,
            m: u32,
            n: u32,
            k: u32,
        ) {
            let output = Plain { out, bias, residual, m, n };
            <$shape>::run::<$element>(output, &Operands { x, w: [w], m, n, k });
        }
    )*};
}

plain! {
    gemm_wgmma_256_bf16, Wide, bf16;
    gemm_wgmma_256_f16, Wide, f16;
    gemm_wgmma_128_bf16, Narrow, bf16;
    gemm_wgmma_128_f16, Narrow, f16;
}

macro_rules! gated {
    ($($name:ident, $element:ty;)*) => {$(
        /// `out = silu(x · gateᵀ) · (x · upᵀ)`: `out [m, n]`; maps of `x [m, k]`, `gate` and `up`
        /// `[n, k]`. Otherwise as [`gemm_wgmma_256_bf16`], with [`GATED`].
        #[kernel(max_threads = THREADS)]
        pub fn $name(
            out: GlobalMut<$element>,
            x: TensorMap,
            gate: TensorMap,
            up: TensorMap,
            m: u32,
            n: u32,
            k: u32,
        ) {
            let output = Gated { out, m, n };
            Both::run::<$element>(output, &Operands { x, w: [gate, up], m, n, k });
        }
    )*};
}

gated! {
    gemm_wgmma_gated_bf16, bf16;
    gemm_wgmma_gated_f16, f16;
}
