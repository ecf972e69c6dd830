//! The scores of one KV head of one sequence in the workspace, and what a position is worth.

use cuda_std::{F32x4, Global, GlobalMut, Shared, U32x2, math};

use crate::select_rows::GroupScore;
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
    /// A [`GroupScore`]: how heads agree.
    pub group_score: u32,
}

impl Weights {
    /// The probability that a head gives a score.
    #[inline(always)]
    fn probability(&self, head: u32, score: f32) -> f32 {
        let Softmax { max, sum } = Softmax::from_words(self.stats.read(head));
        math::exp(score - max) / sum
    }

    /// The probability that a head gives a position.
    #[inline(always)]
    pub fn of(&self, head: u32, position: u32) -> f32 {
        self.probability(head, self.scores.of(head).read(position as usize))
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

    /// A key of the position: larger for one that the group values more, largest for NaN.
    #[inline(always)]
    pub fn key(&self, position: u32) -> u32 {
        let score = |head| [self.scores.of(head).read(position as usize)];
        self.keys(score, self.group_score)[0]
    }

    /// Keys of the positions from `4 · index` on.
    #[inline(always)]
    pub fn keys_of_four(&self, index: u32) -> [u32; 4] {
        let scores = |head| four(self.scores.of(head).as_const(), index);
        self.keys(scores, self.group_score)
    }

    /// Keys that no position of the runs from `4 · index` on exceeds.
    #[inline(always)]
    pub fn keys_above_four_runs(&self, index: u32) -> [u32; 4] {
        let scores = |head| four(self.scores.maxima_of(head).as_const(), index);
        // Where `exp` is not quite monotonic, by its last bits.
        self.keys(scores, self.group_score)
            .map(|key| key.saturating_add(8))
    }

    /// Keys that one position at least reaches in each of the runs from `4 · index` on.
    #[inline(always)]
    pub fn keys_within_four_runs(&self, index: u32) -> [u32; 4] {
        let scores = |head| four(self.scores.maxima_of(head).as_const(), index);
        self.keys(scores, GroupScore::Max as u32)
    }

    /// Keys of `N` positions whose scores `scores` gives for each head: one head alone is asked for
    /// its scores, several are for their probabilities.
    #[inline(always)]
    fn keys<const N: usize>(&self, scores: impl Fn(u32) -> [f32; N], group_score: u32) -> [u32; N] {
        if self.scores.group == 1 {
            return scores(0).map(ordered);
        }
        let mut masses = [0.0f32; N];
        for head in 0..self.scores.group {
            let scores = scores(head);
            for i in 0..N {
                let probability = self.probability(head, scores[i]);
                masses[i] = if group_score == GroupScore::Sum as u32 {
                    masses[i] + probability
                } else {
                    masses[i].max(probability)
                };
            }
        }
        masses.map(f32::to_bits)
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
