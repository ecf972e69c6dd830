//! `x` in registers, weights by way of shared memory: on Hopper alone.
//!
//! A block stays on its multiprocessor and takes eight rows of weights after eight others. Each warp
//! has a part of `k` and keeps what it needs of `x`, so that `x` is read once for each multiprocessor
//! instead of once for every few rows of weights; and all multiprocessors end together.

use core::ops::Range;

use cuda_std::{
    Float16, Global, GlobalMut, Shared, U32x4, bulk_copy, dynamic_shared, grid, shared_array,
    thread, warp,
};

use super::joint::{Part, part_of};
use super::kernels::{Blocks, Input};
use super::output::{Output, Partial, write_gated};
use super::{LANES_DEPTH, SkinnyShape, Stored, Weights};
use crate::ring::{Place, WarpRing};

/// Warps of a block, among which `k` is divided.
const SLICES: u32 = 16;

/// Threads of a block.
const THREADS: u32 = SLICES * warp::SIZE;

/// Elements of a row that a warp takes.
const DEPTH: u32 = 256;

/// The most elements of a row.
pub const KEPT_DEPTH: u32 = SLICES * DEPTH;

/// Steps of a row, each of [`LANES_DEPTH`] elements.
const STEPS: usize = (DEPTH / LANES_DEPTH) as usize;

/// Rows of weights that are multiplied at once: columns of a tensor core's product.
const ROWS: u32 = 8;

/// Elements from one row of a stage to the next, so that two rows lie in different banks.
const STRIDE: u32 = DEPTH + LANES_DEPTH;

/// Elements of a stage.
const STAGE: u32 = ROWS * STRIDE;

/// Stages of a warp's ring.
const STAGES: u32 = 2;

/// Bytes of all rings.
const RINGS: u32 = SLICES * STAGES * STAGE * 2;

/// Halves of the tensor cores' A, of eight rows of `x` each.
const HALVES: usize = 2;

/// The most rows of `x`.
const X_ROWS: u32 = 8 * HALVES as u32;

/// Words of a warp's sums.
const PARTIAL: u32 = Partial::words(X_ROWS, ROWS);

/// The kernels `gemm_kept_*`.
pub const KEPT: SkinnyShape = SkinnyShape {
    rows: X_ROWS,
    columns: ROWS,
    threads: THREADS,
    shared_bytes: RINGS + 2 * SLICES * PARTIAL * 4,
    box_rows: None,
    kept_depth: Some(KEPT_DEPTH),
};

/// The ring of a warp.
struct Ring<T> {
    stages: Shared<T>,
    barriers: WarpRing<STAGES>,
    /// The warp's first element of a row, and how many it has.
    column: u32,
    depth: u32,
}

impl<T: Float16> Ring<T> {
    #[inline(always)]
    fn of_warp(k: u32) -> Self {
        let column = (warp::warp_id() * DEPTH).min(k);
        Self {
            stages: dynamic_shared::<T>(0).offset(warp::warp_id() * STAGES * STAGE),
            barriers: WarpRing::of_warp(shared_array![u64; SLICES * STAGES]),
            column,
            depth: (k - column).min(DEPTH),
        }
    }

    /// Starts copying the warp's part of eight rows, of which `row` gives the lane's.
    #[inline(always)]
    fn start(&self, stage: u32, row: impl Fn(u32) -> Global<T>) {
        let filled = self.barriers.filled(stage);
        if warp::lane_id() == 0 {
            filled.arrive_expecting(ROWS * self.depth * 2);
        }
        warp::sync_warp(warp::ALL);
        let lane = warp::lane_id();
        if lane < ROWS && self.depth > 0 {
            let source = row(lane).offset(self.column as usize);
            let target = self.stages.offset(stage * STAGE + lane * STRIDE);
            bulk_copy::copy_streaming(target, source, self.depth * 2, filled);
        }
    }

    /// The lane's words of a step of a stage; zeros past the end of the row, where nothing was
    /// copied.
    #[inline(always)]
    fn words(&self, stage: u32, step: usize) -> [u32; 4] {
        let (group, pair) = (warp::lane_id() / 4, warp::lane_id() % 4);
        let column = step as u32 * LANES_DEPTH + pair * 8;
        if column >= self.depth {
            return [0; 4];
        }
        let place = stage * STAGE + group * STRIDE + column;
        self.stages.offset(place).cast::<U32x4>().read(0).0
    }
}

/// What a lane keeps of `x`.
type Words = [[[u32; 4]; HALVES]; STEPS];

/// Reads the warp's part of `x [m, k]`, with zeros for what there is not. No read waits for a
/// condition: all are under way at once.
#[inline(always)]
fn read_x<T: Float16>(ring: &Ring<T>, (x, m, k): Input<T>) -> Words {
    let input = Stored::<HALVES>::new(x, m, k);
    let end = ring.column + ring.depth;
    core::array::from_fn(|step| {
        let column = ring.column + step as u32 * LANES_DEPTH + warp::lane_id() % 4 * 8;
        let is_there = u32::from(column < end);
        core::array::from_fn(|half| {
            let words = input.read(half, column.min(k - 8));
            words.map(|word| word & is_there.wrapping_neg())
        })
    })
}

/// The warp's sums for eight rows of weights.
#[inline(always)]
fn sums<T: Float16>(ring: &Ring<T>, stage: u32, x: &Words) -> [[f32; 2]; HALVES] {
    // A product waits for the one before it with the same sums.
    let (mut even, mut odd) = ([0.0; 4], [0.0; 4]);
    for (step, [low, high]) in x.iter().enumerate() {
        let w = ring.words(stage, step);
        T::mma_m16n8k16(&mut even, [low[0], high[0], low[1], high[1]], [w[0], w[1]]);
        T::mma_m16n8k16(&mut odd, [low[2], high[2], low[3], high[3]], [w[2], w[3]]);
    }
    core::array::from_fn(|half| [0, 1].map(|i| even[2 * half + i] + odd[2 * half + i]))
}

/// The block's share of so many tiles: those that follow each other, which suits the memory better
/// than taking turns.
#[inline(always)]
fn share(tiles: u32) -> Range<u32> {
    let (block, blocks) = (thread::block_idx_x(), thread::grid_dim_x());
    let (each, more) = (tiles / blocks, tiles % blocks);
    let first = block * each + block.min(more);
    first..first + each + u32::from(block < more)
}

/// Computes the block's share of `tiles` tiles of eight rows of weights: `row` gives a row of a
/// tile, `ahead` reads what is needed of a tile beside its sums while these are not there yet, and
/// `write` takes a tile, its sums and that.
#[inline(always)]
fn run<T: Float16, A>(
    tiles: u32,
    x: Input<T>,
    row: impl Fn(u32, u32) -> Global<T>,
    ahead: impl Fn(u32) -> A,
    write: impl Fn(u32, Partial, A),
) {
    grid::release_next();
    let share = share(tiles);
    let ring = Ring::<T>::of_warp(x.2);
    let start = |stage, tile| {
        if tile < share.end {
            ring.start(stage, |lane| row(tile, lane));
        }
    };
    for stage in 0..STAGES {
        start(stage, share.start + stage);
    }
    grid::wait_for_previous();
    let x = read_x(&ring, x);
    let mut place = Place::<STAGES>::FIRST;
    for tile in share.start..share.end {
        let read_ahead = ahead(tile);
        ring.barriers.filled(place.stage).wait(place.parity);
        let sums = sums(&ring, place.stage, &x);
        warp::sync_warp(warp::ALL);
        start(place.stage, tile + STAGES);
        place.advance();
        // Two, so that one is written while the other is read.
        let set = tile % 2 * SLICES * PARTIAL;
        let partial = Partial {
            start: dynamic_shared::<f32>(RINGS).offset(set),
            slices: SLICES,
            stride: PARTIAL,
            w_rows: ROWS,
        };
        partial.put_columns(warp::warp_id(), &sums);
        thread::sync_threads();
        write(tile, partial, read_ahead);
    }
}

/// Blocks that stay.
pub(super) struct Kept;

impl Blocks for Kept {
    type Weights<T: Float16> = Global<T>;
    const THREADS: u32 = THREADS;
    const SHARING: u32 = 1;

    #[inline(always)]
    fn product<T: Float16>(output: Output, w: Global<T>, x: Input<T>) {
        let weights = Weights::of(w, output.n, x.2);
        run(
            output.n.div_ceil(ROWS),
            x,
            |tile, row| weights.row(tile * ROWS, 0, 0, row),
            |tile| output.added_first(ROWS, tile * ROWS),
            |tile, partial, added| output.write(partial, tile * ROWS, added),
        );
    }

    #[inline(always)]
    fn joint<T: Float16>(parts: [Part<Global<T>>; 3], x: Input<T>) {
        let (_, m, k) = x;
        let tiles = parts.iter().map(|part| part.n.div_ceil(ROWS));
        run(
            tiles.sum(),
            x,
            |tile, row| {
                let (part, first) = part_of(parts, ROWS, tile);
                Weights::of(part.w, part.n, k).row(first, 0, 0, row)
            },
            |tile| {
                let (part, first) = part_of(parts, ROWS, tile);
                part.output(m).added_first(ROWS, first)
            },
            |tile, partial, added| {
                let (part, first) = part_of(parts, ROWS, tile);
                part.output(m).write(partial, first, added);
            },
        );
    }

    #[inline(always)]
    fn gated<T: Float16>(out: GlobalMut<T>, gate_and_up: [Global<T>; 2], n: u32, x: Input<T>) {
        const EACH: u32 = ROWS / 2;
        let (_, m, k) = x;
        let weights = Weights::paired(gate_and_up, n, k);
        run(
            n.div_ceil(EACH),
            x,
            |tile, row| weights.row(tile * EACH, 0, row / EACH, row % EACH),
            |_| (),
            |tile, partial, ()| write_gated(out, (partial, EACH), (m, n), tile * EACH),
        );
    }
}
