//! Inner products and sums of rows, the arithmetic under attention and matmul.
//!
//! Sums run in [`LANES`] × 4 independent f32 lanes, always in the same order on
//! one machine. Multiply-adds are fused where the CPU has the instruction;
//! elsewhere libm would emulate it at a hundred times the cost.

use multiversion::multiversion;
use multiversion::target::target_cfg_f;

pub(super) mod product;
#[cfg(test)]
pub(super) mod testing;

use product::{View, product};

/// Floats of the widest vector register.
pub(super) const LANES: usize = 16;

/// `a * b + c`, fused if `FMA`.
#[inline(always)]
pub(super) fn mul_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// The sum of `lanes`.
///
/// Opaque, because the compiler would otherwise vectorise this sum's pairs, and
/// then the loop that fills the lanes in pairs as well: a third of the speed.
#[inline(always)]
pub(super) fn sum_lanes(lanes: [f32; LANES]) -> f32 {
    let lanes = std::hint::black_box(lanes);
    let (mut halves, mut quarters) = ([0.0; 8], [0.0; 4]);
    for i in 0..8 {
        halves[i] = lanes[i] + lanes[i + 8];
    }
    for i in 0..4 {
        quarters[i] = halves[i] + halves[i + 4];
    }
    (quarters[0] + quarters[2]) + (quarters[1] + quarters[3])
}

/// [`dot`] inside a function that is compiled for one instruction set.
#[inline(always)]
pub(super) fn dot_inline<const FMA: bool>(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [[0.0f32; LANES]; 4];
    let (a_wide, a) = a.as_chunks::<{ 4 * LANES }>();
    let (b_wide, b) = b.as_chunks::<{ 4 * LANES }>();
    for (a, b) in a_wide.iter().zip(b_wide) {
        for (s, sum) in sums.iter_mut().enumerate() {
            for (i, sum) in sum.iter_mut().enumerate() {
                *sum = mul_add::<FMA>(a[s * LANES + i], b[s * LANES + i], *sum);
            }
        }
    }
    let (a_narrow, a) = a.as_chunks::<LANES>();
    let (b_narrow, b) = b.as_chunks::<LANES>();
    for (a, b) in a_narrow.iter().zip(b_narrow) {
        for (i, sum) in sums[0].iter_mut().enumerate() {
            *sum = mul_add::<FMA>(a[i], b[i], *sum);
        }
    }
    let mut rest = 0.0;
    for (a, b) in a.iter().zip(b) {
        rest = mul_add::<FMA>(*a, *b, rest);
    }
    let [first, second, third, fourth] = sums;
    let mut lanes = first;
    for (i, lane) in lanes.iter_mut().enumerate() {
        *lane = (*lane + second[i]) + (third[i] + fourth[i]);
    }
    sum_lanes(lanes) + rest
}

/// `Σ a[i] b[i]`.
#[multiversion(targets = "simd")]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    debug_assert_eq!(a.len(), b.len());
    dot_inline::<{ target_cfg_f!(any(target_feature = "fma", target_arch = "aarch64")) }>(a, b)
}

/// `out[g][n] = Σ q[g][i] rows[n][i]` for `q` of `[g, width]` and `rows` of `[n, width]`.
pub fn dot_rows(q: &[f32], width: usize, rows: &[f32], out: &mut [f32]) {
    let n = rows.len() / width;
    debug_assert_eq!(out.len() * width, q.len() * n);
    let rows = View::rows(rows, width).transposed();
    // More at once would have the rows packed first, which takes longer.
    for (q, out) in q.chunks(4 * width).zip(out.chunks_mut(4 * n)) {
        product(View::rows(q, width), rows, out, n, false);
    }
}

/// `y += a x`.
#[multiversion(targets = "simd")]
pub fn axpy(a: f32, x: &[f32], y: &mut [f32]) {
    debug_assert_eq!(x.len(), y.len());
    for (x, y) in x.iter().zip(y) {
        *y = mul_add::<{ target_cfg_f!(any(target_feature = "fma", target_arch = "aarch64")) }>(
            a, *x, *y,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{assert_close, floats, rng};
    use super::*;

    fn reference(a: &[f32], b: &[f32]) -> f64 {
        let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
        products.sum()
    }

    #[test]
    fn dot_equals_f64_at_every_length() {
        let mut rng = rng(1);
        for len in (0..200).chain([1000, 11_008]) {
            let (a, b) = (floats(&mut rng, len), floats(&mut rng, len));
            let expected = reference(&a, &b);
            for got in [
                dot(&a, &b),
                dot_inline::<true>(&a, &b),
                dot_inline::<false>(&a, &b),
            ] {
                let error = (f64::from(got) - expected).abs();
                assert!(error <= 2e-7 * (len as f64).sqrt(), "{len}: {error:e}");
            }
        }
    }

    #[test]
    fn dot_lets_nan_and_infinity_through_in_every_lane() {
        let (ones, mut x) = (vec![1.0; 150], vec![1.0; 150]);
        for i in 0..x.len() {
            x[i] = f32::NAN;
            assert!(dot(&x, &ones).is_nan());
            x[i] = f32::INFINITY;
            assert_eq!(dot(&x, &ones), f32::INFINITY);
            x[i] = 1.0;
        }
    }

    #[test]
    fn dot_rows_equals_f64() {
        let mut rng = rng(2);
        for (g, width, n) in [
            (1, 64, 64),
            (3, 64, 1),
            (8, 128, 63),
            (5, 96, 17),
            (2, 7, 5),
        ] {
            let (q, rows) = (floats(&mut rng, g * width), floats(&mut rng, n * width));
            let mut out = vec![f32::NAN; g * n];
            dot_rows(&q, width, &rows, &mut out);
            let expected: Vec<f64> = q
                .chunks(width)
                .flat_map(|q| rows.chunks(width).map(move |row| reference(q, row)))
                .collect();
            assert_close("dot_rows", &out, &expected, n, 1e-6);
        }
    }

    #[test]
    fn axpy_equals_f64() {
        let mut rng = rng(3);
        for len in [0, 1, 15, 64, 100] {
            let (x, mut y) = (floats(&mut rng, len), floats(&mut rng, len));
            let expected: Vec<f64> = x
                .iter()
                .zip(&y)
                .map(|(x, y)| 0.7f32 as f64 * f64::from(*x) + f64::from(*y))
                .collect();
            axpy(0.7, &x, &mut y);
            assert_close("axpy", &y, &expected, len.max(1), 1e-6);
        }
    }
}
