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
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    /// Least-squares fit of `(eʳ - 1 - r) / r²`.
    const POLYNOMIAL: [f32; 6] = [
        1.987_569_1e-4,
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        0.5,
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
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; 2 * LANES];
    let (chunks, rest) = x.as_chunks::<{ 2 * LANES }>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, *x);
        }
    }
    let lanes = lanes.into_iter().chain(rest.iter().copied());
    lanes.fold(f32::NEG_INFINITY, larger)
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
    let shift = if max == f32::NEG_INFINITY { 0.0 } else { max };
    let mut sum = 0.0;
    for part in x.chunks_mut(1024) {
        sum += f64::from(exp_sum_above::<
            { target_cfg_f!(any(target_feature = "fma", target_arch = "aarch64")) },
        >(part, shift));
    }
    (max, sum as f32)
}
