//! Scores of a warpgroup's product, from mask to weights.

use cuda_std::{Float16, math, warp, wgmma};

/// The softmax so far of the thread's two rows.
#[derive(Clone, Copy)]
pub struct Softmax {
    max: [f32; 2],
    sum: [f32; 2],
}

impl Softmax {
    /// Before the first position.
    pub const EMPTY: Self = Self {
        max: [f32::NEG_INFINITY; 2],
        sum: [0.0; 2],
    };

    /// Turns scores into weights `2 ^ (scale · (score - max))` relative to the largest score so
    /// far, and gives the factors by which earlier weights shrink.
    #[inline(always)]
    pub fn update<const N: usize>(&mut self, scores: &mut [f32; N], scale: f32) -> [f32; 2] {
        let mut factors = [0.0; 2];
        for half in 0..2 {
            let mut max = self.max[half];
            for tile in 0..N / 4 {
                let place = 4 * tile + 2 * half;
                max = max.max(scores[place]).max(scores[place + 1]);
            }
            max = max.max(warp::warp_shuffle_xor(warp::ALL, max, 1));
            max = max.max(warp::warp_shuffle_xor(warp::ALL, max, 2));
            factors[half] = math::exp2((self.max[half] - max) * scale);
            self.max[half] = max;
            let offset = -max * scale;
            let mut sum = 0.0;
            for tile in 0..N / 4 {
                for side in 0..2 {
                    let score = &mut scores[4 * tile + 2 * half + side];
                    *score = math::exp2(math::fma(*score, scale, offset));
                    sum += *score;
                }
            }
            self.sum[half] = self.sum[half] * factors[half] + sum;
        }
        factors
    }

    /// The lanes' shares of the sums, added up.
    #[inline(always)]
    pub fn total(&self) -> [f32; 2] {
        self.sum.map(|sum| {
            let sum = sum + warp::warp_shuffle_xor(warp::ALL, sum, 1);
            sum + warp::warp_shuffle_xor(warp::ALL, sum, 2)
        })
    }
}

/// Rules out the positions after each row's own. `row` is the position of the thread's first row,
/// `position` that of its first score.
#[inline(always)]
pub fn mask<const N: usize>(scores: &mut [f32; N], row: u32, position: u32) {
    for (place, score) in scores.iter_mut().enumerate() {
        let position = position + (place / 4 * 8 + place % 2) as u32;
        if position > row + (place / 2 % 2 * 8) as u32 {
            *score = f32::NEG_INFINITY;
        }
    }
}

/// The weights of 64 positions from tile `8 · part` on, as the next product takes them: what a
/// product gave is laid out so.
#[inline(always)]
pub fn pack<T: Float16, const N: usize>(weights: &[f32; N], part: usize) -> wgmma::RegisterTile {
    let mut words = [[0; 4]; 4];
    for (step, words) in words.iter_mut().enumerate() {
        for (index, word) in words.iter_mut().enumerate() {
            let place = 32 * part + 8 * step + 2 * index;
            *word = T::pack(weights[place], weights[place + 1]);
        }
    }
    words
}
