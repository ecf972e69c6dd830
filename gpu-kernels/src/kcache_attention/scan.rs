//! Scores of one part of a sequence's keys, straight from memory to the tensor cores.
//!
//! A warp keeps the words of a whole chunk of keys in registers: as soon as the products of eight
//! keys are done, the load of their successors in the next chunk starts. So about 256 bytes of each
//! lane are under way at any time, without shared memory and without barriers.

use cuda_std::{Float16, Global, U32x2, U32x4, grid, math, warp};

use super::WARPS;
use super::attend::Pair;
use super::scores::{RUN, Scores};
use super::trace::{Mark, Trace};
use crate::KV_BLOCK;
use crate::decode_scores::{PART, load_queries, score};
use crate::softmax::Softmax;

/// Keys of one product.
pub const STEP: u32 = 8;

/// Steps whose words a warp holds: 16 loads of 16 bytes for each lane where that divides a block
/// of K, fewer where not.
pub const fn steps(dim: usize) -> usize {
    match dim {
        64 => 8,
        96 | 128 => 4,
        _ => 2,
    }
}

/// The turn of a launch, for which every thread waits before it touches what launches ahead write:
/// all but the keys of earlier steps, and where these are.
pub struct Turn<T, M> {
    /// The queries of the pair.
    pub q: Global<T>,
    /// How many they are.
    pub group: u32,
    /// Where it is noted.
    pub trace: M,
}

impl<T: Float16, M: Trace> Turn<T, M> {
    /// Waits for it, and gives the lane's words of the queries.
    #[inline(always)]
    pub fn take<const DIM: u32, const PARTS: usize>(&self) -> [U32x4; PARTS] {
        grid::wait_for_previous();
        self.trace.note(Mark::Begun);
        load_queries::<T, DIM, PARTS>(self.q, self.group)
    }
}

/// The keys of one KV head of one sequence.
pub struct Keys<T> {
    table: Global<u64>,
    /// Where the lane's words of the head's first key lie in a block.
    first: usize,
    length: u32,
    element: core::marker::PhantomData<T>,
}

impl<T: Float16> Keys<T> {
    /// The keys that a sequence's table of blocks leads to.
    #[inline(always)]
    pub fn new<const DIM: u32>(table: Global<u64>, pair: &Pair) -> Self {
        Self {
            table,
            first: (pair.kv_head * KV_BLOCK * DIM + warp::lane_id() % 4 * 8) as usize,
            length: pair.length,
            element: core::marker::PhantomData,
        }
    }

    /// The block of a position, from the lane's first words on.
    #[inline(always)]
    pub fn block(&self, position: u32) -> Global<T> {
        let address = self.table.read((position / KV_BLOCK) as usize);
        Global::from_address(address).offset(self.first)
    }

    /// The lane's words of the eight keys from `position` on. Past the end the last key stands in,
    /// whose score is not kept.
    #[inline(always)]
    fn load<const DIM: u32, const PARTS: usize>(
        &self,
        block: Global<T>,
        position: u32,
    ) -> [U32x4; PARTS] {
        let row = (position + warp::lane_id() / 4).min(self.length - 1) % KV_BLOCK;
        let key = block.offset((row * DIM) as usize);
        core::array::from_fn(|part| {
            let words = key.offset(part * PART as usize).cast::<U32x4>();
            words.read_streaming(0)
        })
    }
}

/// Scores of a chunk: of head `lane / 4`, in each step two positions.
pub type Chunk<const STEPS: usize> = [[f32; 2]; STEPS];

/// Where a chunk's scores go.
pub struct Target {
    /// The pair's scores.
    pub scores: Scores,
    /// Positions of the sequence.
    pub length: u32,
    /// What products are multiplied by.
    pub scale: f32,
}

impl Target {
    /// Scales and writes the scores of the chunk from `first` on, with the largest of each run, and
    /// counts them in. The lanes of a head hold its largest score together and sums of their own.
    #[inline(always)]
    pub fn put<const STEPS: usize>(
        &self,
        chunk: &mut Chunk<STEPS>,
        first: u32,
        softmax: Softmax,
    ) -> Softmax {
        let (head, pair) = (warp::lane_id() / 4, warp::lane_id() % 4);
        let whole = first + STEPS as u32 * STEP <= self.length;
        for (step, scores) in chunk.iter_mut().enumerate() {
            for (i, score) in scores.iter_mut().enumerate() {
                let position = first + STEP * step as u32 + 2 * pair + i as u32;
                *score = if whole || position < self.length {
                    *score * self.scale
                } else {
                    f32::NEG_INFINITY
                };
            }
        }
        let mut max = softmax.max;
        for run in 0..STEPS / 2 {
            let [[a, b], [c, d]] = [chunk[2 * run], chunk[2 * run + 1]];
            let mut best = math::max_nan(math::max_nan(a, b), math::max_nan(c, d));
            best = math::max_nan(best, warp::warp_shuffle_xor(warp::ALL, best, 1));
            best = math::max_nan(best, warp::warp_shuffle_xor(warp::ALL, best, 2));
            max = math::max_nan(max, best);
            if pair == 0 && head < self.scores.group {
                let maxima = self.scores.maxima_of(head);
                maxima.write((first / RUN) as usize + run, best);
            }
        }
        if head < self.scores.group {
            let out = self.scores.of(head).cast::<U32x2>();
            for (step, scores) in chunk.iter().enumerate() {
                let position = first + STEP * step as u32 + 2 * pair;
                out.write((position / 2) as usize, U32x2(scores.map(f32::to_bits)));
            }
        }
        let mut sum = softmax.sum * math::exp(softmax.max - max);
        for scores in chunk.iter() {
            sum += math::exp(scores[0] - max) + math::exp(scores[1] - max);
        }
        Softmax { max, sum }
    }
}

/// Scores the blocks of K from `first` to `end`, each by one warp, and gives the warp's softmax: of
/// head `h` in lanes `4 · h` to `4 · h + 3`. The last block of the sequence is scored whole.
#[inline(always)]
pub fn scan<T: Float16, M: Trace, const DIM: u32, const PARTS: usize, const STEPS: usize>(
    turn: &Turn<T, M>,
    keys: &Keys<T>,
    target: &Target,
    (first, end): (u32, u32),
) -> Softmax {
    let q = turn.take::<DIM, PARTS>();
    let chunk = STEPS as u32 * STEP;
    let end = end.min(keys.length.next_multiple_of(KV_BLOCK));
    let mut position = first + warp::warp_id() * KV_BLOCK;
    if position >= end {
        return Softmax::EMPTY;
    }
    let mut softmax = Softmax::EMPTY;
    let block = keys.block(position);
    let mut words: [[U32x4; PARTS]; STEPS] =
        core::array::from_fn(|step| keys.load::<DIM, PARTS>(block, position + STEP * step as u32));
    let mut next = following(position, chunk);
    // The address is there a chunk before the loads that need it.
    let mut block = keys.block(if next < end { next } else { position });
    while next < end {
        let after = following(next, chunk);
        let block_after = keys.block(if after < end { after } else { next });
        let mut scores: Chunk<STEPS> = [[0.0; 2]; STEPS];
        for step in 0..STEPS {
            scores[step] = score::<T, PARTS>(&q, &words[step]);
            words[step] = keys.load::<DIM, PARTS>(block, next + STEP * step as u32);
        }
        softmax = target.put(&mut scores, position, softmax);
        (position, next, block) = (next, after, block_after);
    }
    let mut scores: Chunk<STEPS> = [[0.0; 2]; STEPS];
    for step in 0..STEPS {
        scores[step] = score::<T, PARTS>(&q, &words[step]);
    }
    target.put(&mut scores, position, softmax).merge_lanes(4)
}

/// The chunk after the one at `position` that the same warp scores.
#[inline(always)]
pub fn following(position: u32, chunk: u32) -> u32 {
    let next = position + chunk;
    if next.is_multiple_of(KV_BLOCK) {
        next + (WARPS - 1) * KV_BLOCK
    } else {
        next
    }
}
