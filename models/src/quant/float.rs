//! Elements stored as floats.

use super::dequantizer;

dequantizer!(f32, f32_element);
dequantizer!(bf16, bf16_element);

#[inline(always)]
fn f32_element(stored: &[u8; 4], out: &mut [f32; 1]) {
    *out = [f32::from_le_bytes(*stored)];
}

/// bfloat16 is the upper half of an f32.
#[inline(always)]
fn bf16_element(stored: &[u8; 2], out: &mut [f32; 1]) {
    *out = [f32::from_bits(u32::from(u16::from_le_bytes(*stored)) << 16)];
}
