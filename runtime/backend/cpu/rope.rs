//! Rotary position embedding (arXiv 2104.09864).

use kcache_models::config::{RopeConfig, RopeStyle};
use multiversion::multiversion;
use rayon::prelude::*;

/// Positions are written in digits of this base.
const BASE: usize = 128;
/// Digits of a position: enough for 268 million.
const DIGITS: usize = 4;
/// Rows that are worth a task of their own.
const ROWS: usize = 16;

/// What turns a position into the cosines and sines of its angles.
///
/// An angle is position × frequency: the f32 frequency that Hugging Face's
/// models use, multiplied in f64 (they round the product to f32, which at
/// position 1e6 is off by 0.03 radians). The sum over a position's digits of
/// `digit · 128^i · frequency` makes its angle, so tables of 128 rotations for
/// each digit, multiplied in f64, replace sines at run time.
#[derive(Clone, Debug)]
pub struct RopeTable {
    style: RopeStyle,
    head_dim: usize,
    /// `[DIGITS, BASE, head_dim / 2]`.
    cos: Vec<f64>,
    /// As `cos`.
    sin: Vec<f64>,
}

impl RopeTable {
    /// The tables of `config` for heads of `head_dim` elements, an even number.
    pub fn new(config: &RopeConfig, head_dim: usize) -> Self {
        let frequencies = config.frequencies(head_dim);
        let steps = (0..DIGITS).flat_map(|i| (0..BASE).map(move |d| d * BASE.pow(i as u32)));
        let angles = steps.flat_map(|position| {
            let frequencies = frequencies.iter();
            frequencies.map(move |f| position as f64 * f64::from(*f))
        });
        let (sin, cos) = angles.map(f64::sin_cos).unzip();
        Self {
            style: config.style,
            head_dim,
            cos,
            sin,
        }
    }

    /// Writes the `head_dim / 2` cosines and sines of `position`, in f64.
    #[inline(always)]
    fn angles(&self, position: usize, cos: &mut [f64], sin: &mut [f64]) {
        debug_assert!(position < BASE.pow(DIGITS as u32));
        let pairs = self.head_dim / 2;
        cos.fill(1.0);
        sin.fill(0.0);
        let mut rest = position;
        for digit in 0..DIGITS {
            let start = (digit * BASE + rest % BASE) * pairs;
            let table = self.cos[start..][..pairs]
                .iter()
                .zip(&self.sin[start..][..pairs]);
            for ((c, s), (tc, ts)) in cos.iter_mut().zip(sin.iter_mut()).zip(table) {
                (*c, *s) = (*c * tc - *s * ts, *c * ts + *s * tc);
            }
            rest /= BASE;
            if rest == 0 {
                break;
            }
        }
    }
}

/// Rotates every head of row `i` of `x`, `[positions.len(), n_heads * head_dim]`,
/// to `positions[i]`.
pub fn rotate(x: &mut [f32], positions: &[usize], table: &RopeTable) {
    if positions.is_empty() {
        return;
    }
    debug_assert_eq!(x.len() % (positions.len() * table.head_dim), 0);
    let width = x.len() / positions.len();
    if positions.len() <= ROWS {
        return rotate_rows(x, positions, table);
    }
    x.par_chunks_mut(ROWS * width)
        .zip(positions.par_chunks(ROWS))
        .for_each(|(x, positions)| rotate_rows(x, positions, table));
}

#[multiversion(targets = "simd")]
fn rotate_rows(x: &mut [f32], positions: &[usize], table: &RopeTable) {
    let pairs = table.head_dim / 2;
    let mut wide = vec![0.0f64; 2 * pairs];
    let mut narrow = vec![0.0f32; 2 * pairs];
    let width = x.len() / positions.len();
    for (x, position) in x.chunks_exact_mut(width).zip(positions) {
        let (cos, sin) = wide.split_at_mut(pairs);
        table.angles(*position, cos, sin);
        for (narrow, wide) in narrow.iter_mut().zip(&wide) {
            *narrow = *wide as f32;
        }
        let (cos, sin) = narrow.split_at(pairs);
        for head in x.chunks_exact_mut(2 * pairs) {
            match table.style {
                RopeStyle::HalfSplit => rotate_halves(head, cos, sin),
                RopeStyle::Interleaved => rotate_pairs(head, cos, sin),
            }
        }
    }
}

#[inline(always)]
fn rotate_halves(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (first, second) = head.split_at_mut(cos.len());
    let elements = first.iter_mut().zip(second);
    for ((a, b), (c, s)) in elements.zip(cos.iter().zip(sin)) {
        (*a, *b) = (*a * c - *b * s, *b * c + *a * s);
    }
}

#[inline(always)]
fn rotate_pairs(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (pairs, _) = head.as_chunks_mut::<2>();
    for ([a, b], (c, s)) in pairs.iter_mut().zip(cos.iter().zip(sin)) {
        (*a, *b) = (*a * c - *b * s, *b * c + *a * s);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::cpu::dot::testing::{assert_close, floats, rng};
    use kcache_models::config::RopeScaling;

    fn config(style: RopeStyle) -> RopeConfig {
        let (theta, scaling) = (100_000.0, RopeScaling::None);
        RopeConfig {
            theta,
            style,
            scaling,
        }
    }

    /// Angles as the product of position and frequency, rotations as complex products.
    fn reference(x: &[f32], positions: &[usize], head_dim: usize, style: RopeStyle) -> Vec<f64> {
        let frequencies = config(style).frequencies(head_dim);
        let width = x.len() / positions.len();
        let mut out: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
        for (row, position) in out.chunks_mut(width).zip(positions) {
            for head in row.chunks_mut(head_dim) {
                for (i, frequency) in frequencies.iter().enumerate() {
                    let (a, b) = match style {
                        RopeStyle::HalfSplit => (i, i + head_dim / 2),
                        RopeStyle::Interleaved => (2 * i, 2 * i + 1),
                    };
                    let (sin, cos) = (*position as f64 * f64::from(*frequency)).sin_cos();
                    let (x, y) = (head[a], head[b]);
                    (head[a], head[b]) = (x * cos - y * sin, x * sin + y * cos);
                }
            }
        }
        out
    }

    #[test]
    fn rotations_equal_f64_up_to_far_positions() {
        let mut rng = rng(1);
        for style in [RopeStyle::HalfSplit, RopeStyle::Interleaved] {
            let table_of = |head_dim| RopeTable::new(&config(style), head_dim);
            for (head_dim, n_heads) in [(2, 3), (64, 9), (96, 1), (128, 2), (256, 4)] {
                let table = table_of(head_dim);
                for positions in [
                    vec![0],
                    vec![1_000_000],
                    vec![5, 127, 128, 4095, 16_384, 1_048_575, 99_999_999],
                    (1_000..1_050).collect(),
                ] {
                    let mut x = floats(&mut rng, positions.len() * n_heads * head_dim);
                    let expected = reference(&x, &positions, head_dim, style);
                    rotate(&mut x, &positions, &table);
                    assert_close("rope", &x, &expected, head_dim, 2e-7);
                }
            }
        }
    }

    #[test]
    fn position_0_changes_nothing_and_no_rows_are_fine() {
        let table = RopeTable::new(&config(RopeStyle::HalfSplit), 64);
        let x = floats(&mut rng(2), 192);
        let mut rotated = x.clone();
        rotate(&mut rotated, &[0], &table);
        assert_eq!(x, rotated);
        rotate(&mut [], &[], &table);
    }
}
