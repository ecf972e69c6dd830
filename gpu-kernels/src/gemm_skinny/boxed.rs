//! Weights by way of shared memory, in boxes, for up to 16 rows of `x`: on Hopper alone.
//!
//! Each warp has a ring of stages to itself; one lane has a box of 32 rows of weights copied into
//! each. With twice as many rows of weights as in `streamed`, all of `x` is read half as often, and
//! 16 rows of it are no less than what a block reads of the weights. Copied one by one, so many rows
//! would keep a warp starting copies.

use cuda_std::bulk_copy::BOX_COLUMNS;
use cuda_std::mbarrier::Barrier;
use cuda_std::{
    Float16, Global, GlobalMut, Shared, TensorMap, U32x4, grid, shared_array, swizzled_shared,
    thread, warp,
};

use super::joint::{Part, part_of_block};
use super::kernels::{Blocks, Input};
use super::output::{Output, Partial, write_gated};
use super::{LANES_DEPTH, SkinnyShape, Stored};
use crate::ring::{Place, WarpRing};

/// Warps of a block, among which `k` is divided.
const SLICES: u32 = 8;

/// Threads of a block.
const THREADS: u32 = SLICES * warp::SIZE;

/// Stages of a warp's ring.
const STAGES: u32 = 2;

/// Rows of weights of a block, and of the box of a product's map.
pub const BOX_ROWS: u32 = 32;

/// Rows of the boxes of the maps of gate and up.
pub const GATED_BOX_ROWS: u32 = BOX_ROWS / 2;

/// Tiles of 16 rows of weights.
const W_TILES: usize = BOX_ROWS as usize / 16;

/// Boxes of a stage, one beside the other: 256 bytes of a row suit the memory better than 128.
const BOXES: u32 = 2;

/// Elements of a row in a stage.
const DEPTH: u32 = BOXES * BOX_COLUMNS;

/// Steps of a box, each of [`LANES_DEPTH`] elements of a row.
const BOX_STEPS: u32 = BOX_COLUMNS / LANES_DEPTH;

/// Steps of a stage.
const STEPS: usize = (BOXES * BOX_STEPS) as usize;

/// Elements of a box.
const BOX: u32 = BOX_ROWS * BOX_COLUMNS;

/// Elements of a stage.
const STAGE: u32 = BOXES * BOX;

/// Bytes of a warp's ring.
const RING_BYTES: u32 = STAGES * STAGE * 2;

/// Tiles of eight rows of `x`.
const X_TILES: usize = 2;

/// The kernels `gemm_boxed_*`.
pub const BOXED: SkinnyShape = SkinnyShape {
    rows: 8 * X_TILES as u32,
    columns: BOX_ROWS,
    threads: THREADS,
    shared_bytes: SLICES * RING_BYTES,
    box_rows: Some(BOX_ROWS),
    kept_depth: None,
};

/// The weights of a block, from row `first` of each map on.
#[derive(Clone, Copy)]
struct Boxes<const MAPS: usize> {
    maps: [TensorMap; MAPS],
    first: u32,
    k: u32,
}

impl<const MAPS: usize> Boxes<MAPS> {
    const MAP_ROWS: u32 = BOX_ROWS / MAPS as u32;

    /// Copies the part of the rows from a column on, of one map below that of the other.
    #[inline(always)]
    fn copy<T: Float16>(&self, stage: Shared<T>, column: u32, filled: Barrier) {
        filled.arrive_expecting(STAGE * 2);
        for i in 0..BOXES {
            let column = column + i * BOX_COLUMNS;
            for (map_index, map) in self.maps.iter().enumerate() {
                let place = i * BOX + map_index as u32 * Self::MAP_ROWS * BOX_COLUMNS;
                map.copy_streaming(stage.offset(place), [column, self.first], filled);
            }
        }
    }

    /// The row of a stage that is the first of a half of a tile. Of two maps both are in a tile, so
    /// that both results of a column are in one block.
    #[inline(always)]
    fn row(tile: u32, half: u32) -> u32 {
        if MAPS == 1 {
            16 * tile + 8 * half
        } else {
            8 * tile + Self::MAP_ROWS * half
        }
    }
}

/// The ring of a warp.
#[derive(Clone, Copy)]
struct Ring<T> {
    stages: Shared<T>,
    barriers: WarpRing<STAGES>,
}

impl<T: Float16> Ring<T> {
    /// The ring of the running warp.
    #[inline(always)]
    fn of_warp() -> Self {
        Self {
            stages: swizzled_shared(warp::warp_id() * RING_BYTES),
            barriers: WarpRing::of_warp(shared_array![u64; SLICES * STAGES]),
        }
    }

    /// Starts copying the part of the rows from `column` on, if there is one.
    #[inline(always)]
    fn start<const MAPS: usize>(&self, boxes: &Boxes<MAPS>, stage: u32, column: u32) {
        if column < boxes.k && warp::lane_id() == 0 {
            let target = self.stages.offset(stage * STAGE);
            boxes.copy(target, column, self.barriers.filled(stage));
        }
    }

    /// The lane's words of a step of a stage, of eight rows from `row` on: its part of the row is
    /// swizzled.
    #[inline(always)]
    fn words(&self, stage: u32, row: u32, step: usize) -> [u32; 4] {
        let (group, pair) = (warp::lane_id() / 4, warp::lane_id() % 4);
        let (index, step) = (step as u32 / BOX_STEPS, step as u32 % BOX_STEPS);
        let part = (4 * step + pair) ^ group;
        let place = stage * STAGE + index * BOX + (row + group) * BOX_COLUMNS + part * 8;
        self.stages.offset(place).cast::<U32x4>().read(0).0
    }
}

/// The warp's sums, as products of tensor cores hold them.
type Sums = [[[f32; 4]; X_TILES]; W_TILES];

/// The lane's words of `x` for a stage.
type Words = [[[u32; 4]; X_TILES]; STEPS];

#[inline(always)]
fn load(x: &Stored<X_TILES>, column: u32) -> Words {
    core::array::from_fn(|step| {
        let column = column + step as u32 * LANES_DEPTH + warp::lane_id() % 4 * 8;
        core::array::from_fn(|tile| x.load(tile, column))
    })
}

/// Adds a stage.
#[inline(always)]
fn add<T: Float16, const MAPS: usize>(sums: &mut Sums, ring: &Ring<T>, stage: u32, x: &Words) {
    for (step, x) in x.iter().enumerate() {
        for (tile, sums) in sums.iter_mut().enumerate() {
            let row = |half| Boxes::<MAPS>::row(tile as u32, half);
            let low = ring.words(stage, row(0), step);
            let high = ring.words(stage, row(1), step);
            for (sums, x) in sums.iter_mut().zip(x) {
                T::mma_m16n8k16(sums, [low[0], high[0], low[1], high[1]], [x[0], x[1]]);
                T::mma_m16n8k16(sums, [low[2], high[2], low[3], high[3]], [x[2], x[3]]);
            }
        }
    }
}

/// Computes the block's part of the product of `x [m, k]`, and calls `write` with it, and with what
/// `ahead` has read at the begin of the launch's turn. Weights are on their way before `x` may be
/// read.
#[inline(always)]
fn run<T: Float16, const MAPS: usize, A>(
    boxes: Boxes<MAPS>,
    (x, m): (Global<T>, u32),
    ahead: impl FnOnce() -> A,
    write: impl FnOnce(Partial, A),
) {
    grid::release_next();
    let ring = Ring::<T>::of_warp();
    let mut column = warp::warp_id() * DEPTH;
    let mut next = column;
    for stage in 0..STAGES {
        ring.start(&boxes, stage, next);
        next += SLICES * DEPTH;
    }
    grid::wait_for_previous();
    let input = Stored::new(x, m, boxes.k);
    let mut sums = [[[0.0; 4]; X_TILES]; W_TILES];
    let mut place = Place::<STAGES>::FIRST;
    let mut x = load(&input, column);
    let read_ahead = ahead();
    while column < boxes.k {
        column += SLICES * DEPTH;
        // On its way while this stage is multiplied.
        let ahead = load(&input, column);
        ring.barriers.filled(place.stage).wait(place.parity);
        add::<T, MAPS>(&mut sums, &ring, place.stage, &x);
        warp::sync_warp(warp::ALL);
        ring.start(&boxes, place.stage, next);
        next += SLICES * DEPTH;
        place.advance();
        x = ahead;
    }
    // Each warp's where its ring was.
    let partial = Partial {
        start: swizzled_shared(0),
        slices: SLICES,
        stride: RING_BYTES / 4,
        w_rows: BOX_ROWS,
    };
    partial.put(warp::warp_id(), &sums);
    thread::sync_threads();
    write(partial, read_ahead);
}

/// The block's part of a product that is not gated.
#[inline(always)]
fn write_product<T: Float16>(boxes: Boxes<1>, x: (Global<T>, u32), output: Output) {
    let ahead = || output.added_first(BOX_ROWS, boxes.first);
    let write = |partial, added| output.write(partial, boxes.first, added);
    run(boxes, x, ahead, write);
}

/// Blocks of which each has one part, and copies it in boxes.
pub(super) struct Boxed;

impl Blocks for Boxed {
    type Weights<T: Float16> = TensorMap;
    const THREADS: u32 = THREADS;
    /// Two would let the next launch's weights compete with those that are waited for.
    const SHARING: u32 = 1;

    #[inline(always)]
    fn product<T: Float16>(output: Output, w: TensorMap, (x, m, k): Input<T>) {
        let first = thread::block_idx_x() * BOX_ROWS;
        let boxes = Boxes {
            maps: [w],
            first,
            k,
        };
        write_product(boxes, (x, m), output);
    }

    #[inline(always)]
    fn joint<T: Float16>(parts: [Part<TensorMap>; 3], (x, m, k): Input<T>) {
        let (part, first) = part_of_block(parts, BOX_ROWS);
        let boxes = Boxes {
            maps: [part.w],
            first,
            k,
        };
        write_product(boxes, (x, m), part.output(m));
    }

    #[inline(always)]
    fn gated<T: Float16>(out: GlobalMut<T>, maps: [TensorMap; 2], n: u32, (x, m, k): Input<T>) {
        let first = thread::block_idx_x() * GATED_BOX_ROWS;
        let boxes = Boxes { maps, first, k };
        let write = |partial, ()| write_gated(out, (partial, 8), (m, n), first);
        run(boxes, (x, m), || (), write);
    }
}
