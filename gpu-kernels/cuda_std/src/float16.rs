//! The two 16-bit floats.

use crate::{Element, platform};

/// A 16-bit float: [`bf16`] or [`struct@f16`].
pub trait Float16: Element {
    /// Whether it is [`bf16`].
    const IS_BF16: bool;

    /// Widens exactly.
    fn to_f32(self) -> f32;

    /// Rounds to nearest, ties to even.
    fn from_f32(value: f32) -> Self;

    /// Widens the low and the high half of a word, in this order.
    fn unpack(word: u32) -> [f32; 2];

    /// Rounds two floats into the low and the high half of a word.
    fn pack(low: f32, high: f32) -> u32;

    /// `d = a·b + d`: the warp's product of one 16×16 and one 16×8 tile, see [`crate::mma`].
    fn mma_m16n8k16(d: &mut [f32; 4], a: [u32; 4], b: [u32; 2]);
}

/// The upper half of a 32-bit float: 8 bits of exponent, 8 of significand.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct bf16(pub u16);

/// IEEE 754 binary16: 5 bits of exponent, 11 of significand.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct f16(pub u16);

// SAFETY: a plain 16-bit number.
unsafe impl Element for bf16 {}
// SAFETY: a plain 16-bit number.
unsafe impl Element for f16 {}

impl Float16 for bf16 {
    const IS_BF16: bool = true;

    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }

    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        Self(platform::f32_to_bf16(value))
    }

    #[inline(always)]
    fn unpack(word: u32) -> [f32; 2] {
        [
            f32::from_bits(word << 16),
            f32::from_bits(word & 0xffff_0000),
        ]
    }

    #[inline(always)]
    fn pack(low: f32, high: f32) -> u32 {
        platform::pack_bf16(low, high)
    }

    #[inline(always)]
    #[track_caller]
    fn mma_m16n8k16(d: &mut [f32; 4], a: [u32; 4], b: [u32; 2]) {
        platform::mma_m16n8k16_bf16(d, a, b);
    }
}

impl Float16 for f16 {
    const IS_BF16: bool = false;

    #[inline(always)]
    fn to_f32(self) -> f32 {
        platform::f16_to_f32(self.0)
    }

    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        Self(platform::f32_to_f16(value))
    }

    #[inline(always)]
    fn unpack(word: u32) -> [f32; 2] {
        [
            platform::f16_to_f32(word as u16),
            platform::f16_to_f32((word >> 16) as u16),
        ]
    }

    #[inline(always)]
    fn pack(low: f32, high: f32) -> u32 {
        platform::pack_f16(low, high)
    }

    #[inline(always)]
    #[track_caller]
    fn mma_m16n8k16(d: &mut [f32; 4], a: [u32; 4], b: [u32; 2]) {
        platform::mma_m16n8k16_f16(d, a, b);
    }
}
