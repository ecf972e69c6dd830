//! Exponentials and the normaliser of a softmax.

use multiversion::multiversion;
use multiversion::target::target_cfg_f;

use super::dot::{LANES, mul_add, sum_lanes};

/// `eˣ` to 1.5 units in the last place over all of f32, subnormal results
/// included; NaN stays NaN. No branch or call, so that loops of it vectorise.
///
/// `x = n ln 2 + r` with `|r| ≤ ln 2 / 2`, and a polynomial for `eʳ`.
#[inline(always)]
pub(super) fn exp<const FMA: bool>(x: f32) -> f32 {
    /// Adding it rounds to an integer, held in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts: `n * LN2_HIGH` is exact.
    const LN2_HIGH: f32 = 355.0 / 512.0;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    /// Minimax fit of `(eʳ - 1 - r) / r²`: eʳ to 3e-9.
    const POLYNOMIAL: [f32; 5] = [
        1.381_432e-3,
        8.368_851e-3,
        4.166_84e-2,
        1.666_652e-1,
        4.999_999_4e-1,
    ];
    // Beyond these bounds results are infinity and 0 anyway. NaN passes.
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -105.0 { -105.0 } else { x };
    let shifted = mul_add::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = mul_add::<FMA>(n, -LN2_HIGH, x);
    let r = mul_add::<FMA>(n, -LN2_LOW, r);
    let mut p = POLYNOMIAL[0];
    for c in &POLYNOMIAL[1..] {
        p = mul_add::<FMA>(p, r, *c);
    }
    let p = mul_add::<FMA>(p * r, r, r) + 1.0;
    // Two factors, because 2ⁿ itself may lie outside f32's normal numbers.
    let n = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let half = n >> 1;
    p * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// The largest of `x`, NaN aside; -inf of none.
#[inline(always)]
pub(super) fn max(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, *x);
        }
    }
    // Opaque for the reason given at `sum_lanes`.
    let lanes = std::hint::black_box(lanes);
    let mut quarters = [f32::NEG_INFINITY; 4];
    for (i, lane) in lanes.into_iter().enumerate() {
        quarters[i % 4] = larger(quarters[i % 4], lane);
    }
    let mut max = f32::NEG_INFINITY;
    for x in quarters.iter().chain(rest) {
        max = larger(max, *x);
    }
    max
}

/// `a`, unless `b` is larger.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

/// Turns `x` into `exp(x - shift)` and returns the sum.
#[inline(always)]
pub(super) fn exp_sum_above<const FMA: bool>(x: &mut [f32], shift: f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (chunks, rest) = x.as_chunks_mut::<LANES>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *x = exp::<FMA>(*x - shift);
            *lane += *x;
        }
    }
    let mut sum = sum_lanes(lanes);
    for x in rest {
        *x = exp::<FMA>(*x - shift);
        sum += *x;
    }
    sum
}

/// Turns scores into `exp(x - max)` in place and returns `(max, sum)`.
///
/// The sum is exact to f32's rounding whatever the length. A NaN among the
/// scores makes the sum NaN; -inf everywhere gives zeros and `(-inf, 0)`.
#[multiversion(targets = "simd")]
pub fn exp_sum(x: &mut [f32]) -> (f32, f32) {
    let max = max(x);
    // All -inf: any finite shift gives weights of 0.
    let shift = max.max(f32::MIN);
    let mut sum = 0.0;
    for part in x.chunks_mut(1024) {
        sum += f64::from(exp_sum_above::<
            { target_cfg_f!(any(target_feature = "fma", target_arch = "aarch64")) },
        >(part, shift));
    }
    (max, sum as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::cpu::dot::testing::{assert_close, floats, rng};

    #[multiversion(targets = "simd")]
    fn exp_all(x: &[f32], out: &mut [f32]) {
        for (x, out) in x.iter().zip(out) {
            *out =
                exp::<{ target_cfg_f!(any(target_feature = "fma", target_arch = "aarch64")) }>(*x);
        }
    }

    /// Every 997th float: errors in units in the last place of the true result.
    #[test]
    fn exp_is_right_over_all_of_f32() {
        let x: Vec<f32> = (0..u32::MAX).step_by(997).map(f32::from_bits).collect();
        let mut by_cpu = vec![0.0; x.len()];
        exp_all(&x, &mut by_cpu);
        for (x, by_cpu) in x.into_iter().zip(by_cpu) {
            let expected = f64::from(x).exp();
            for got in [by_cpu, exp::<true>(x), exp::<false>(x)] {
                if x.is_nan() {
                    assert!(got.is_nan());
                } else if (expected as f32).is_infinite() {
                    assert_eq!(got, f32::INFINITY, "exp({x})");
                } else {
                    let rounded = expected as f32;
                    let ulp = f64::from(rounded.next_up()) - f64::from(rounded);
                    let error = (f64::from(got) - expected).abs();
                    assert!(error <= 1.5 * ulp, "exp({x}) = {got}, not {expected}");
                }
            }
        }
        assert_eq!(exp::<false>(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp::<false>(f32::NEG_INFINITY), 0.0);
    }

    fn reference(x: &[f32]) -> (f64, Vec<f64>) {
        let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let p: Vec<f64> = x.iter().map(|x| f64::from(x - max).exp()).collect();
        (p.iter().sum(), p)
    }

    #[test]
    fn weights_and_sum_equal_f64() {
        let mut rng = rng(1);
        for len in [1, 2, 15, 16, 17, 63, 1024, 1025, 100_003] {
            let mut x = floats(&mut rng, len);
            x.iter_mut().for_each(|x| *x *= 20.0);
            x[len / 2] = f32::NEG_INFINITY;
            x[len - 1] = 12.5;
            let (sum, expected) = reference(&x);
            let largest = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let (max, got_sum) = exp_sum(&mut x);
            assert_eq!(max, largest);
            assert_close("p", &x, &expected, len, 2e-7);
            assert_close("sum", &[got_sum], &[sum], 1, 3e-7);
        }
    }

    #[test]
    fn empty_and_broken_scores() {
        assert_eq!(exp_sum(&mut []), (f32::NEG_INFINITY, 0.0));
        let mut hidden = [f32::NEG_INFINITY; 20];
        assert_eq!(exp_sum(&mut hidden), (f32::NEG_INFINITY, 0.0));
        assert_eq!(hidden, [0.0; 20]);
        for at in [0, 16, 19] {
            let mut x = [1.0; 20];
            x[at] = f32::NAN;
            let (max, sum) = exp_sum(&mut x);
            assert_eq!(max, 1.0);
            assert!(sum.is_nan() && x[at].is_nan() && x[1..16].iter().all(|p| *p == 1.0));
        }
    }
}
