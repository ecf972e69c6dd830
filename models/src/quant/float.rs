//! Elements stored as floats.

use super::dequantizer;

dequantizer!(f32, f32_element);
dequantizer!(f16, f16_element);
dequantizer!(bf16, bf16_element);

#[inline(always)]
fn f32_element(stored: &[u8; 4], out: &mut [f32; 1]) {
    *out = [f32::from_le_bytes(*stored)];
}

#[inline(always)]
fn f16_element(stored: &[u8; 2], out: &mut [f32; 1]) {
    *out = [f16_to_f32(*stored)];
}

/// bfloat16 is the upper half of an f32.
#[inline(always)]
fn bf16_element(stored: &[u8; 2], out: &mut [f32; 1]) {
    *out = [f32::from_bits(u32::from(u16::from_le_bytes(*stored)) << 16)];
}

/// IEEE half precision to single, without branches.
///
/// `half::f16::to_f32` asks the CPU what it can do on every call and cannot be
/// inlined into a loop compiled for another instruction set.
#[inline(always)]
pub(super) fn f16_to_f32(stored: [u8; 2]) -> f32 {
    const EXPONENT: u32 = 0x7c00 << 13;
    /// The difference of the two formats' exponent biases, 127 - 15.
    const REBIAS: u32 = 112 << 23;
    let half = u32::from(u16::from_le_bytes(stored));
    let magnitude = (half & 0x7fff) << 13;
    let exponent = magnitude & EXPONENT;
    let normal = f32::from_bits(magnitude + REBIAS);
    // Infinities and NaN need the largest exponent of f32.
    let special = f32::from_bits(magnitude + 2 * REBIAS);
    // Reading a subnormal as a normal number adds 2^-14: take it off again.
    let subnormal = f32::from_bits(magnitude + REBIAS + (1 << 23)) - f32::from_bits(113 << 23);
    let value = match exponent {
        0 => subnormal,
        EXPONENT => special,
        _ => normal,
    };
    f32::from_bits(value.to_bits() | (half & 0x8000) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_converts_exactly() {
        for bits in 0..=u16::MAX {
            let expected = half::f16::from_bits(bits).to_f32();
            let got = f16_to_f32(bits.to_le_bytes());
            let both_nan = expected.is_nan() && got.is_nan();
            assert!(
                both_nan || expected.to_bits() == got.to_bits(),
                "{bits:#x}: {got}"
            );
        }
    }
}
