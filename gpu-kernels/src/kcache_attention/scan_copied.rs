//! Scores of one part of a sequence's keys, copied to shared memory well ahead: on Hopper alone.
//!
//! Each warp has a ring of stages to itself. Its first lane starts the copies, one for a stage, and
//! the next into a stage as soon as the warp has read it: no warp waits for another, and keys under
//! way take no registers. What is under way is so much that the memory stays busy while a third of
//! the blocks do other things than scan.

use cuda_std::{Float16, Global, Shared, U32x4, bulk_copy, warp};

use super::WARPS;
use super::scan::{Chunk, Keys, STEP, Target, Turn, following};
use super::trace::Trace;
use crate::KV_BLOCK;
use crate::decode_scores::{PART, score};
use crate::ring::{Place, WarpRing};
use crate::softmax::Softmax;

/// Stages of a warp's ring.
const STAGES: u32 = 3;

/// Barriers of a block: one for each stage of each warp.
pub const BARRIERS: u32 = WARPS * STAGES;

/// Steps of eight keys in a stage: of 4 KB, or as long as the largest of a run takes.
pub const fn steps(dim: usize) -> usize {
    if dim > 64 { 2 } else { 4 }
}

/// Bytes of shared memory for heads of `dim` elements.
pub const fn shared_bytes(dim: u32) -> u32 {
    BARRIERS * stage(dim) * 2
}

/// Elements of a stage.
const fn stage(dim: u32) -> u32 {
    steps(dim as usize) as u32 * STEP * dim
}

/// The ring of a warp.
#[derive(Clone, Copy)]
pub struct Ring<T> {
    stages: Shared<T>,
    barriers: WarpRing<STAGES>,
}

impl<T: Float16> Ring<T> {
    /// The ring of the running warp, in [`shared_bytes`] of shared memory and [`BARRIERS`].
    #[inline(always)]
    pub fn new<const DIM: u32>(stages: Shared<T>, barriers: Shared<u64>) -> Self {
        Self {
            stages: stages.offset(warp::warp_id() * STAGES * stage(DIM)),
            barriers: WarpRing::of_warp(barriers),
        }
    }

    fn stage<const DIM: u32>(&self, index: u32) -> Shared<T> {
        self.stages.offset(index * stage(DIM))
    }

    /// Starts copying a chunk of keys of a block of K into a stage.
    #[inline(always)]
    fn start<const DIM: u32>(&self, index: u32, rows: Rows, block: Global<T>) {
        if warp::lane_id() == 0 {
            let bytes = rows.count * DIM * size_of::<T>() as u32;
            self.barriers.filled(index).arrive_expecting(bytes);
            let source = block.offset((rows.first % KV_BLOCK * DIM) as usize);
            let filled = self.barriers.filled(index);
            bulk_copy::copy(self.stage::<DIM>(index), source, bytes, filled);
        }
    }

    /// The lane's words of the eight keys of a step, of which there are `count`. Past the end the
    /// last key stands in, whose score is not kept.
    #[inline(always)]
    fn words<const DIM: u32, const PARTS: usize>(
        &self,
        index: u32,
        step: u32,
        count: u32,
    ) -> [U32x4; PARTS] {
        let row = (step * STEP + warp::lane_id() / 4).min(count - 1);
        let key = self.stage::<DIM>(index);
        let key = key.offset(row * DIM + warp::lane_id() % 4 * 8);
        core::array::from_fn(|part| key.offset(part as u32 * PART).cast::<U32x4>().read(0))
    }
}

/// The keys of a chunk that there are; past the end, the last of all.
#[derive(Clone, Copy)]
struct Rows {
    first: u32,
    count: u32,
}

impl Rows {
    #[inline(always)]
    fn of(position: u32, chunk: u32, length: u32) -> Self {
        let first = position.min(length - 1);
        Self {
            first,
            count: (length - first).min(chunk),
        }
    }
}

/// As [`scan`](super::scan::scan), by way of the ring. The warp has read all that it copied. Keys
/// of earlier steps are on their way before the launch's turn has come.
#[inline(always)]
pub fn scan<T: Float16, M: Trace, const DIM: u32, const PARTS: usize, const STEPS: usize>(
    turn: &Turn<T, M>,
    keys: &Keys<T>,
    target: &Target,
    ring: Ring<T>,
    (first, end): (u32, u32),
) -> Softmax {
    let chunk = STEPS as u32 * STEP;
    let early = end < target.length;
    let end = end.min(target.length.next_multiple_of(KV_BLOCK));
    let mut position = first + warp::warp_id() * KV_BLOCK;
    if position >= end {
        turn.take::<DIM, PARTS>();
        return Softmax::EMPTY;
    }
    // The newest key is written by a launch ahead.
    let mut q = [U32x4::default(); PARTS];
    if !early {
        q = turn.take::<DIM, PARTS>();
    }
    // The chunk to copy next; its block's address is there before it is needed.
    let mut next = position;
    let mut block = keys.block(next);
    let mut start_next = |stage: u32| {
        if next < end {
            ring.start::<DIM>(stage, Rows::of(next, chunk, target.length), block);
            let after = following(next, chunk);
            block = keys.block(if after < end { after } else { next });
            next = after;
        }
    };
    for stage in 0..STAGES {
        start_next(stage);
    }
    if early {
        q = turn.take::<DIM, PARTS>();
    }
    let mut softmax = Softmax::EMPTY;
    let mut place = Place::<STAGES>::FIRST;
    while position < end {
        let count = Rows::of(position, chunk, target.length).count;
        ring.barriers.filled(place.stage).wait(place.parity);
        let mut scores: Chunk<STEPS> = [[0.0; 2]; STEPS];
        for (step, scores) in scores.iter_mut().enumerate() {
            let words = ring.words::<DIM, PARTS>(place.stage, step as u32, count);
            *scores = score::<T, PARTS>(&q, &words);
        }
        warp::sync_warp(warp::ALL);
        start_next(place.stage);
        softmax = target.put(&mut scores, position, softmax);
        place.advance();
        position = following(position, chunk);
    }
    softmax.merge_lanes(4)
}
