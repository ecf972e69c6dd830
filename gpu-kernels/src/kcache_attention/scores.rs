//! The scores of one KV head of one sequence in the workspace, and what a position is worth.

use cuda_std::{F32x4, Global, GlobalMut, Shared, U32x2, math, thread};

use crate::KV_BLOCK;
use crate::softmax::Softmax;

/// Positions whose largest score is kept beside the scores.
pub const RUN: u32 = 16;

/// The scores of a group of query heads.
#[derive(Clone, Copy)]
pub struct Scores {
    /// `[group, stride]`.
    pub all: GlobalMut<f32>,
    /// `[group, stride / RUN]`.
    pub maxima: GlobalMut<f32>,
    /// Scores from one head to the next, a multiple of a block of K.
    pub stride: u32,
    /// Query heads.
    pub group: u32,
}

impl Scores {
    /// The scores of a head.
    #[inline(always)]
    pub fn of(&self, head: u32) -> GlobalMut<f32> {
        self.all.offset(head as usize * self.stride as usize)
    }

    /// The largest score of each run, of a head.
    #[inline(always)]
    pub fn maxima_of(&self, head: u32) -> GlobalMut<f32> {
        self.maxima
            .offset(head as usize * (self.stride / RUN) as usize)
    }
}

/// The scores with the softmax over all of them.
#[derive(Clone, Copy)]
pub struct Weights {
    /// The scores.
    pub scores: Scores,
    /// The softmax of each head.
    pub stats: Shared<U32x2>,
    /// A [`GroupScore`](crate::select_rows::GroupScore): how heads agree.
    pub group_score: u32,
}

impl Weights {
    /// The softmax of a head.
    #[inline(always)]
    pub fn softmax(&self, head: u32) -> Normalised {
        let Softmax { max, sum } = Softmax::from_words(self.stats.read(head));
        Normalised {
            max,
            scale: 1.0 / sum,
        }
    }

    /// The probability that a head gives a position.
    #[inline(always)]
    pub fn of(&self, head: u32, position: u32) -> f32 {
        self.softmax(head)
            .probability(self.scores.of(head).read(position as usize))
    }

    /// The probability that the group gives a position, summed over its heads.
    #[inline(always)]
    pub fn mass(&self, position: u32) -> f32 {
        let mut mass = 0.0;
        for head in 0..self.scores.group {
            mass += self.of(head, position);
        }
        mass
    }

    /// What the group makes of every position, for selection: of one head its scores, of several
    /// the probabilities that they give together, which are written to `masses [stride]`. All
    /// threads of the block take part; the values may be read afterwards.
    #[inline(always)]
    pub fn values(&self, length: u32, masses: GlobalMut<f32>) -> Values {
        let maxima = self.scores.maxima_of(0);
        if self.scores.group == 1 {
            return Values {
                all: self.scores.all.as_const(),
                maxima: maxima.as_const(),
            };
        }
        self.weigh(length.next_multiple_of(KV_BLOCK), masses, maxima);
        thread::sync_threads();
        Values {
            all: masses.as_const(),
            maxima: maxima.as_const(),
        }
    }
}

/// The softmax over all scores of a head.
#[derive(Clone, Copy)]
pub struct Normalised {
    max: f32,
    scale: f32,
}

impl Normalised {
    /// The probability of a score.
    #[inline(always)]
    pub fn probability(&self, score: f32) -> f32 {
        math::exp(score - self.max) * self.scale
    }
}

/// A value for each position, and the largest of each run.
#[derive(Clone, Copy)]
pub struct Values {
    all: Global<f32>,
    maxima: Global<f32>,
}

impl Values {
    /// A key of the position: larger for a larger value, largest for NaN.
    #[inline(always)]
    pub fn key(&self, position: u32) -> u32 {
        ordered(self.all.read(position as usize))
    }

    /// Keys of the positions from `4 · index` on.
    #[inline(always)]
    pub fn keys_of_four(&self, index: u32) -> [u32; 4] {
        four(self.all, index).map(ordered)
    }

    /// The largest key of each of the runs from `4 · index` on.
    #[inline(always)]
    pub fn keys_of_four_runs(&self, index: u32) -> [u32; 4] {
        four(self.maxima, index).map(ordered)
    }
}

/// Elements `4 · index` to `4 · index + 3`.
#[inline(always)]
fn four(elements: Global<f32>, index: u32) -> [f32; 4] {
    elements.cast::<F32x4>().read(index as usize).0
}

/// A number with the order of the floats, in which both zeros are equal and NaN is the largest.
#[inline(always)]
fn ordered(value: f32) -> u32 {
    let bits = (value + 0.0).to_bits();
    if value.is_nan() {
        u32::MAX
    } else if bits >> 31 == 1 {
        !bits
    } else {
        bits | 1 << 31
    }
}
