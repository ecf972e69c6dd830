//! The softmax of part of a row of scores.

use cuda_std::{Global, GlobalMut, Shared, U32x2, math, thread, warp};

/// The largest score of a part, and the sum of the weights `exp(score - max)`.
#[derive(Clone, Copy)]
pub struct Softmax {
    /// The largest score.
    pub max: f32,
    /// The sum of the weights relative to it.
    pub sum: f32,
}

impl Softmax {
    /// Of no scores.
    pub const EMPTY: Self = Self {
        max: f32::NEG_INFINITY,
        sum: 0.0,
    };

    /// Of one score.
    #[inline(always)]
    pub fn of(score: f32) -> Self {
        Self {
            max: score,
            sum: 1.0,
        }
    }

    /// Of both parts together. An empty one changes nothing.
    #[inline(always)]
    pub fn merge(self, other: Self) -> Self {
        let max = self.max.max(other.max);
        let part = |one: Self| {
            if one.sum == 0.0 {
                0.0
            } else {
                one.sum * math::exp(one.max - max)
            }
        };
        Self {
            max,
            sum: part(self) + part(other),
        }
    }

    /// Of the `lanes` neighbours that this lane is among, the same in each of them. A power of two.
    #[inline(always)]
    pub fn merge_lanes(mut self, lanes: u32) -> Self {
        let mut step = 1;
        while step < lanes {
            let max = warp::warp_shuffle_xor(warp::ALL, self.max, step);
            let sum = warp::warp_shuffle_xor(warp::ALL, self.sum, step);
            self = self.merge(Self { max, sum });
            step *= 2;
        }
        self
    }

    /// Both numbers, as memory holds them.
    #[inline(always)]
    pub fn to_words(self) -> U32x2 {
        U32x2([self.max.to_bits(), self.sum.to_bits()])
    }

    /// What [`Self::to_words`] gave.
    #[inline(always)]
    pub fn from_words(words: U32x2) -> Self {
        let [max, sum] = words.0.map(f32::from_bits);
        Self { max, sum }
    }
}

/// Merges the warps' softmaxes of up to `heads` heads and writes the block's, a pair for each of
/// the first `group`, `splits` apart. Lane `4 · h` of a warp holds its softmax of head `h`; `shared`
/// has room for all warps' `heads`.
#[inline(always)]
pub fn write_partials(
    partials: GlobalMut<U32x2>,
    shared: Shared<U32x2>,
    softmax: Softmax,
    (group, heads): (u32, u32),
    splits: u32,
) {
    let (warp, lane) = (warp::warp_id(), warp::lane_id());
    if lane.is_multiple_of(4) {
        shared.write(warp * heads + lane / 4, softmax.to_words());
    }
    thread::sync_threads();
    let head = thread::thread_idx_x();
    if head < group {
        let mut all = Softmax::EMPTY;
        for warp in 0..thread::block_dim_x() / warp::SIZE {
            all = all.merge(Softmax::from_words(shared.read(warp * heads + head)));
        }
        partials.write(head as usize * splits as usize, all.to_words());
    }
}

/// Merges the first `count` parts of each head's softmax, which lie `splits` apart from head to
/// head, into `shared`.
#[inline(always)]
pub fn merge_partials(
    shared: Shared<U32x2>,
    partials: Global<U32x2>,
    group: u32,
    (count, splits): (u32, u32),
) {
    let mut head = warp::warp_id();
    while head < group {
        let partials = partials.offset(head as usize * splits as usize);
        let mut all = Softmax::EMPTY;
        let mut split = warp::lane_id();
        while split < count {
            all = all.merge(Softmax::from_words(partials.read(split as usize)));
            split += warp::SIZE;
        }
        let all = all.merge_lanes(warp::SIZE);
        if warp::lane_id() == 0 {
            shared.write(head, all.to_words());
        }
        head += thread::block_dim_x() / warp::SIZE;
    }
    thread::sync_threads();
}
