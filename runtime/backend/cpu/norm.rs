//! Root mean square normalisation (arXiv 1910.07467).

use multiversion::multiversion;
use rayon::prelude::*;

/// Rows that are worth a task of their own.
const ROWS: usize = 16;

/// `out = x / sqrt(mean(x²) + eps) * weight`, row by row.
///
/// `x` and `out` are `[rows, weight.len()]`. The mean is taken in f64: squares
/// of f32 never overflow it, and the order of the sum is fixed.
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    debug_assert_eq!(x.len(), out.len());
    debug_assert_eq!(x.len() % weight.len(), 0);
    let chunk = ROWS * weight.len();
    if x.len() <= chunk {
        return norm_rows(x, weight, eps, out);
    }
    x.par_chunks(chunk)
        .zip(out.par_chunks_mut(chunk))
        .for_each(|(x, out)| norm_rows(x, weight, eps, out));
}

#[multiversion(targets = "simd")]
fn norm_rows(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let width = weight.len();
    for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        let mean = sum_of_squares(x) / width as f64;
        let scale = (mean + f64::from(eps)).sqrt().recip() as f32;
        for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
            *out = x * scale * weight;
        }
    }
}

#[inline(always)]
fn sum_of_squares(x: &[f32]) -> f64 {
    let mut lanes = [0.0f64; 16];
    let (chunks, rest) = x.as_chunks::<16>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(*x) * f64::from(*x);
        }
    }
    let rest = rest.iter().map(|x| f64::from(*x) * f64::from(*x));
    lanes.into_iter().chain(rest).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::cpu::dot::testing::{assert_close, floats, rng};

    fn reference(x: &[f32], weight: &[f32], eps: f32) -> Vec<f64> {
        let row = |x: &[f32]| {
            let squares: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum();
            let root = (squares / x.len() as f64 + f64::from(eps)).sqrt();
            let pairs = x.iter().zip(weight);
            let scaled = pairs.map(|(x, w)| f64::from(*x) / root * f64::from(*w));
            scaled.collect::<Vec<_>>()
        };
        x.chunks(weight.len()).flat_map(row).collect()
    }

    #[test]
    fn rows_equal_f64() {
        let mut rng = rng(1);
        for (m, width) in [(1, 1), (1, 576), (3, 577), (100, 96), (2, 4096)] {
            for scale in [1e-20, 1.0, 1e30] {
                let mut x = floats(&mut rng, m * width);
                x.iter_mut().for_each(|x| *x *= scale);
                let weight = floats(&mut rng, width);
                let mut out = vec![f32::NAN; m * width];
                rms_norm(&x, &weight, 1e-5, &mut out);
                let expected = reference(&x, &weight, 1e-5);
                assert_close("rms_norm", &out, &expected, width, 3e-7);
            }
        }
    }

    #[test]
    fn a_broken_row_stays_alone() {
        let mut x = vec![1.0f32; 3 * 40];
        x[40 + 17] = f32::NAN;
        x[80 + 39] = f32::INFINITY;
        let mut out = vec![0.0; x.len()];
        rms_norm(&x, &[1.0; 40], 1e-5, &mut out);
        assert_close("rms_norm", &out, &reference(&x, &[1.0; 40], 1e-5), 40, 1e-6);
        assert!(out[40..80].iter().all(|x| x.is_nan()));
    }
}
