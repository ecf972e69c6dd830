//! Weights by way of shared memory: on Hopper alone.
//!
//! Each warp has a ring of stages to itself, into which its lanes copy a row of weights each. What
//! is under way takes no registers, and it is under way before the launch ahead is done: so much
//! that the memory stays busy from one launch to the next.

use cuda_std::{
    Float16, Global, Shared, U32x4, bulk_copy, dynamic_shared, grid, shared_array, thread, warp,
};

use super::output::Partial;
use super::{LANES_DEPTH, SkinnyShape, Stored, Weights};
use crate::ring::{Place, WarpRing};

/// Products of up to `8 · XT` rows of `x`. `GROUPS` warps take 16 rows of weights each and the same
/// part of `x`, which one of them brings near for all; `SLICES` such groups divide `k`.
///
/// A warp's ring has `STAGES` stages of `STEPS` steps, each of [`LANES_DEPTH`] elements of a row.
/// Copies are of one row each, and a warp starts them one after the other: the longer, the fewer.
/// More stages make up for fewer blocks.
pub struct Streamed<
    const XT: usize,
    const GROUPS: u32,
    const SLICES: u32,
    const STEPS: usize,
    const STAGES: u32,
>;

/// Rows of weights of a warp.
const ROWS: u32 = 16;

/// Elements of a row in a stage of so many steps.
const fn depth(steps: usize) -> u32 {
    LANES_DEPTH * steps as u32
}

/// The ring of a warp, for the rows of weights from `first` on.
struct Ring<'a, T, const STEPS: usize, const STAGES: u32> {
    stages: Shared<T>,
    barriers: WarpRing<STAGES>,
    weights: &'a Weights<T>,
    first: u32,
    /// Which 16 rows of the block.
    tile: u32,
}

impl<T: Float16, const STEPS: usize, const STAGES: u32> Ring<'_, T, STEPS, STAGES> {
    const DEPTH: u32 = depth(STEPS);
    const STAGE: u32 = ROWS * Self::DEPTH;

    #[inline(always)]
    fn stage(&self, stage: u32) -> Shared<T> {
        self.stages.offset(stage * Self::STAGE)
    }

    /// Starts copying the part of the rows from `column` on, if there is one.
    #[inline(always)]
    fn start(&self, stage: u32, column: u32) {
        let k = self.weights.k;
        if column >= k {
            return;
        }
        let bytes = (k - column).min(Self::DEPTH) * 2;
        if warp::lane_id() == 0 {
            self.barriers.filled(stage).arrive_expecting(ROWS * bytes);
        }
        warp::sync_warp(warp::ALL);
        let row = warp::lane_id();
        if row < ROWS {
            let source = self.weights.row(self.first, self.tile, row / 8, row % 8);
            let source = source.offset(column as usize);
            let target = self.stage(stage).offset(row * Self::DEPTH);
            bulk_copy::copy_streaming(target, source, bytes, self.barriers.filled(stage));
        }
    }

    /// The lane's words of a step of a stage, those of its two rows; zeros past `depth`, where
    /// nothing was copied.
    #[inline(always)]
    fn words(stage: Shared<T>, step: usize, depth: u32) -> [[u32; 4]; 2] {
        let (group, pair) = (warp::lane_id() / 4, warp::lane_id() % 4);
        let column = step as u32 * LANES_DEPTH + pair * 8;
        if column >= depth {
            return [[0; 4]; 2];
        }
        let place = stage.offset(group * Self::DEPTH + column);
        [0, 8].map(|row| place.offset(row * Self::DEPTH).cast::<U32x4>().read(0).0)
    }
}

impl<const XT: usize, const GROUPS: u32, const SLICES: u32, const STEPS: usize, const STAGES: u32>
    Streamed<XT, GROUPS, SLICES, STEPS, STAGES>
{
    const WARPS: u32 = SLICES * GROUPS;
    pub(super) const THREADS: u32 = Self::WARPS * warp::SIZE;
    /// Blocks that should share a multiprocessor: as many as leave room for their rings.
    pub(super) const BLOCKS: u32 = if Self::WARPS > 4 { 2 } else { 3 };
    const X_ROWS: u32 = 8 * XT as u32;
    pub(super) const W_ROWS: u32 = ROWS * GROUPS;
    const DEPTH: u32 = depth(STEPS);
    const PARTIAL: u32 = Partial::words(Self::X_ROWS, Self::W_ROWS);
    /// Elements of a warp's ring.
    const RING: u32 = STAGES * ROWS * Self::DEPTH;
    const RING_BYTES: u32 = Self::WARPS * Self::RING * 2;
    pub(super) const SKINNY: SkinnyShape = SkinnyShape {
        rows: Self::X_ROWS,
        columns: Self::W_ROWS,
        threads: Self::THREADS,
        shared_bytes: Self::RING_BYTES + SLICES * Self::PARTIAL * 4,
        box_rows: None,
    };

    /// Adds a stage. A product waits for the one before it with the same sums, so that there are two
    /// of each.
    #[inline(always)]
    fn add<T: Float16>(
        sums: &mut [[[f32; 4]; 2]; XT],
        stage: Shared<T>,
        x: &[[[u32; 4]; XT]; STEPS],
        depth: u32,
    ) {
        for (step, x) in x.iter().enumerate() {
            let [low, high] = Ring::<T, STEPS, STAGES>::words(stage, step, depth);
            for ([even, odd], x) in sums.iter_mut().zip(x) {
                T::mma_m16n8k16(even, [low[0], high[0], low[1], high[1]], [x[0], x[1]]);
                T::mma_m16n8k16(odd, [low[2], high[2], low[3], high[3]], [x[2], x[3]]);
            }
        }
    }

    /// The warp's share of the product with `x [m, k]`. Weights, which no earlier launch writes, are on
    /// their way before `x` is read.
    #[inline(always)]
    fn sums<T: Float16>(
        ring: &Ring<'_, T, STEPS, STAGES>,
        slice: u32,
        (x, m): (Global<T>, u32),
    ) -> [[f32; 4]; XT] {
        let k = ring.weights.k;
        let mut column = slice * Self::DEPTH;
        let mut next = column;
        for stage in 0..STAGES {
            ring.start(stage, next);
            next += SLICES * Self::DEPTH;
        }
        grid::wait_for_previous();
        let input = Stored::<XT>::new(x, m, k);
        let load = |column: u32| -> [[[u32; 4]; XT]; STEPS] {
            core::array::from_fn(|step| {
                let column = column + step as u32 * LANES_DEPTH + warp::lane_id() % 4 * 8;
                core::array::from_fn(|tile| input.load(tile, column))
            })
        };
        let mut sums = [[[0.0; 4]; 2]; XT];
        let mut place = Place::<STAGES>::FIRST;
        let mut x = load(column);
        while column < k {
            let after = column + SLICES * Self::DEPTH;
            // On its way while this stage is multiplied.
            let ahead = load(after);
            ring.barriers.filled(place.stage).wait(place.parity);
            Self::add(&mut sums, ring.stage(place.stage), &x, k - column);
            warp::sync_warp(warp::ALL);
            ring.start(place.stage, next);
            next += SLICES * Self::DEPTH;
            place.advance();
            (x, column) = (ahead, after);
        }
        sums.map(|[even, odd]| core::array::from_fn(|i| even[i] + odd[i]))
    }

    /// Computes the block's part of the product, and calls `write` with it.
    #[inline(always)]
    pub(super) fn run<T: Float16>(
        weights: &Weights<T>,
        first: u32,
        x: (Global<T>, u32),
        write: impl FnOnce(Partial),
    ) {
        grid::release_next();
        let (slice, tile) = (warp::warp_id() / GROUPS, warp::warp_id() % GROUPS);
        let ring = Ring::<T, STEPS, STAGES> {
            stages: dynamic_shared::<T>(0).offset(warp::warp_id() * Self::RING),
            barriers: WarpRing::of_warp(shared_array![u64; SLICES * GROUPS * STAGES]),
            weights,
            first,
            tile,
        };
        let partial = Partial {
            start: dynamic_shared(Self::RING_BYTES),
            slices: SLICES,
            stride: Self::PARTIAL,
            w_rows: Self::W_ROWS,
        };
        partial.put((slice, ROWS * tile), &[Self::sums(&ring, slice, x)]);
        thread::sync_threads();
        write(partial);
    }
}
