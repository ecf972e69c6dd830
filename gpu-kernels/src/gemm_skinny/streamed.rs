//! Weights by way of shared memory: on Hopper alone.
//!
//! Each warp has a ring of stages to itself, into which its lanes copy a row of weights each. What
//! is under way takes no registers, and it is under way before the launch ahead is done: so much
//! that the memory stays busy from one launch to the next.

use cuda_std::{
    Float16, Global, Shared, U32x4, bulk_copy, dynamic_shared, grid, shared_array, thread, warp,
};

use super::kernels::OnePart;
use super::output::Partial;
use super::{LANES_DEPTH, SkinnyShape, Stored, Weights};
use crate::ring::{Place, WarpRing};

/// Products of up to eight rows of `x` with rings of `STAGES` stages: more make up for fewer blocks.
pub struct Streamed<const STAGES: u32>;

/// Warps of a block, among which `k` is divided.
const SLICES: u32 = 4;

/// Rows of `x`.
const X_ROWS: u32 = 8;

/// Rows of weights of a block.
const ROWS: u32 = 16;

/// Steps of a stage, each of [`LANES_DEPTH`] elements of a row. Copies are of one row each, and a
/// warp starts them one after the other: the longer, the fewer.
const STEPS: usize = 8;

/// Elements of a row in a stage.
const DEPTH: u32 = LANES_DEPTH * STEPS as u32;

/// Elements of a stage.
const STAGE: u32 = ROWS * DEPTH;

/// The ring of a warp, for the rows of weights from `first` on.
struct Ring<'a, T, const STAGES: u32> {
    stages: Shared<T>,
    barriers: WarpRing<STAGES>,
    weights: &'a Weights<T>,
    first: u32,
}

impl<T: Float16, const STAGES: u32> Ring<'_, T, STAGES> {
    #[inline(always)]
    fn stage(&self, stage: u32) -> Shared<T> {
        self.stages.offset(stage * STAGE)
    }

    /// Starts copying the part of the rows from `column` on, if there is one.
    #[inline(always)]
    fn start(&self, stage: u32, column: u32) {
        let k = self.weights.k;
        if column >= k {
            return;
        }
        let bytes = (k - column).min(DEPTH) * 2;
        if warp::lane_id() == 0 {
            self.barriers.filled(stage).arrive_expecting(ROWS * bytes);
        }
        warp::sync_warp(warp::ALL);
        let row = warp::lane_id();
        if row < ROWS {
            let source = self.weights.row(self.first, 0, row / 8, row % 8);
            let source = source.offset(column as usize);
            let target = self.stage(stage).offset(row * DEPTH);
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
        let place = stage.offset(group * DEPTH + column);
        [0, 8].map(|row| place.offset(row * DEPTH).cast::<U32x4>().read(0).0)
    }
}

impl<const STAGES: u32> Streamed<STAGES> {
    const PARTIAL: u32 = Partial::words(X_ROWS, ROWS);
    /// Elements of a warp's ring.
    const RING: u32 = STAGES * STAGE;
    const RING_BYTES: u32 = SLICES * Self::RING * 2;
    pub(super) const SKINNY: SkinnyShape = SkinnyShape {
        rows: X_ROWS,
        columns: ROWS,
        threads: SLICES * warp::SIZE,
        shared_bytes: Self::RING_BYTES + SLICES * Self::PARTIAL * 4,
        box_rows: None,
        kept_depth: None,
    };

    /// Adds a stage. A product waits for the one before it with the same sums, so that there are two.
    #[inline(always)]
    fn add<T: Float16>(
        [even, odd]: &mut [[f32; 4]; 2],
        stage: Shared<T>,
        x: &[[u32; 4]; STEPS],
        depth: u32,
    ) {
        for (step, x) in x.iter().enumerate() {
            let [low, high] = Ring::<T, STAGES>::words(stage, step, depth);
            T::mma_m16n8k16(even, [low[0], high[0], low[1], high[1]], [x[0], x[1]]);
            T::mma_m16n8k16(odd, [low[2], high[2], low[3], high[3]], [x[2], x[3]]);
        }
    }

    /// The warp's share of the product with `x [m, k]`. Weights, which no earlier launch writes, are on
    /// their way before `x` is read.
    #[inline(always)]
    fn sums<T: Float16, A>(
        ring: &Ring<'_, T, STAGES>,
        (x, m): (Global<T>, u32),
        ahead: impl FnOnce() -> A,
    ) -> ([f32; 4], A) {
        let k = ring.weights.k;
        let mut column = warp::warp_id() * DEPTH;
        let mut next = column;
        for stage in 0..STAGES {
            ring.start(stage, next);
            next += SLICES * DEPTH;
        }
        grid::wait_for_previous();
        let input = Stored::<1>::new(x, m, k);
        let load = |column: u32| -> [[u32; 4]; STEPS] {
            core::array::from_fn(|step| {
                let column = column + step as u32 * LANES_DEPTH + warp::lane_id() % 4 * 8;
                input.load(0, column)
            })
        };
        let mut sums = [[0.0; 4]; 2];
        let mut place = Place::<STAGES>::FIRST;
        let mut x = load(column);
        let read_ahead = ahead();
        while column < k {
            let after = column + SLICES * DEPTH;
            // On its way while this stage is multiplied.
            let ahead = load(after);
            ring.barriers.filled(place.stage).wait(place.parity);
            Self::add(&mut sums, ring.stage(place.stage), &x, k - column);
            warp::sync_warp(warp::ALL);
            ring.start(place.stage, next);
            next += SLICES * DEPTH;
            place.advance();
            (x, column) = (ahead, after);
        }
        let [even, odd] = sums;
        (core::array::from_fn(|i| even[i] + odd[i]), read_ahead)
    }
}

impl<const STAGES: u32> OnePart for Streamed<STAGES> {
    const THREADS: u32 = Self::SKINNY.threads;
    /// As many as leave room for their rings.
    const SHARING: u32 = 3;
    const W_ROWS: u32 = ROWS;

    #[inline(always)]
    fn run<T: Float16, A>(
        weights: &Weights<T>,
        first: u32,
        x: (Global<T>, u32),
        ahead: impl FnOnce() -> A,
        write: impl FnOnce(Partial, A),
    ) {
        grid::release_next();
        let ring = Ring::<T, STAGES> {
            stages: dynamic_shared::<T>(0).offset(warp::warp_id() * Self::RING),
            barriers: WarpRing::of_warp(shared_array![u64; SLICES * STAGES]),
            weights,
            first,
        };
        let partial = Partial {
            start: dynamic_shared(Self::RING_BYTES),
            slices: SLICES,
            stride: Self::PARTIAL,
            w_rows: Self::W_ROWS,
        };
        let (sums, ahead) = Self::sums(&ring, x, ahead);
        partial.put(warp::warp_id(), &[[sums]]);
        thread::sync_threads();
        write(partial, ahead);
    }
}
