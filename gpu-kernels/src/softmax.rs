//! The softmax of part of a row of scores.

use cuda_std::{U32x2, math, warp};

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
