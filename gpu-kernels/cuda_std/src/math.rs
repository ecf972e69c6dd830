//! Functions of single numbers.

use crate::platform;

/// `2^x`, relative error under 2^-22; subnormal results become zero.
#[inline(always)]
pub fn exp2(x: f32) -> f32 {
    platform::exp2(x)
}

/// `e^x`, by [`exp2`].
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    exp2(x * core::f32::consts::LOG2_E)
}

/// `1 / sqrt(x)`, relative error under 2^-22.
#[inline(always)]
pub fn rsqrt(x: f32) -> f32 {
    platform::rsqrt(x)
}

/// `1 / x`, relative error under 2^-22.
#[inline(always)]
pub fn reciprocal(x: f32) -> f32 {
    platform::reciprocal(x)
}

/// The value, of which the compiler then knows nothing: a loop that ends there is not unrolled.
#[inline(always)]
pub fn opaque(value: u32) -> u32 {
    platform::opaque(value)
}

/// `a·b + c`, rounded once.
#[inline(always)]
pub fn fma(a: f32, b: f32, c: f32) -> f32 {
    platform::fma(a, b, c)
}

/// The larger of both, NaN where one of them is.
#[inline(always)]
pub fn max_nan(a: f32, b: f32) -> f32 {
    platform::max_nan(a, b)
}
