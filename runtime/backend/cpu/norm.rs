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
