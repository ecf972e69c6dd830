//! Inner products and sums of rows, the arithmetic under attention and matmul.
//!
//! Sums run in [`LANES`] × 4 independent f32 lanes, always in the same order on
//! one machine. Multiply-adds are fused where the CPU has the instruction;
//! elsewhere libm would emulate it at a hundred times the cost.

use multiversion::multiversion;
use multiversion::target::target_cfg_f;

/// Floats of the widest vector register.
pub(super) const LANES: usize = 16;

/// `a * b + c`, fused if `FMA`.
#[inline(always)]
pub(super) fn mul_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// Adds lane by lane in halves, so that the sum vectorises.
#[inline(always)]
pub(super) fn sum_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
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
///
/// Each row is read from memory once for all of `q`.
#[multiversion(targets = "simd")]
pub fn dot_rows(q: &[f32], width: usize, rows: &[f32], out: &mut [f32]) {
    let n = rows.len() / width;
    debug_assert_eq!(out.len() * width, q.len() * n);
    for (i, row) in rows.chunks_exact(width).enumerate() {
        for (q, out) in q.chunks_exact(width).zip(out.chunks_exact_mut(n)) {
            out[i] = dot_inline::<
                { target_cfg_f!(any(target_feature = "fma", target_arch = "aarch64")) },
            >(q, row);
        }
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
