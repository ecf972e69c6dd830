//! What the instruction set of the code around can do.

use crate::backend::cpu::dot;

/// `ON`: fused multiply-add and, on x86-64, F16C.
///
/// A value is handed down into inlined functions, which are compiled for the
/// instruction set of the function that they end up in.
#[derive(Clone, Copy)]
pub(super) struct Native<const ON: bool>(());

impl<const ON: bool> Native<ON> {
    /// # Safety
    /// If `ON`, the CPU has these instructions.
    #[inline(always)]
    pub unsafe fn new() -> Self {
        Self(())
    }

    /// `a * b + c`.
    #[inline(always)]
    pub fn mul_add(self, a: f32, b: f32, c: f32) -> f32 {
        dot::mul_add::<ON>(a, b, c)
    }

    /// Two IEEE half precision floats.
    #[inline(always)]
    pub fn half_pair(self, stored: [u8; 4]) -> (f32, f32) {
        #[cfg(target_arch = "x86_64")]
        if ON {
            use std::arch::x86_64::*;
            // SAFETY: the CPU has F16C, as `new` asks.
            unsafe {
                let pair = _mm_cvtph_ps(_mm_cvtsi32_si128(i32::from_le_bytes(stored)));
                return (_mm_cvtss_f32(pair), _mm_cvtss_f32(_mm_movehdup_ps(pair)));
            }
        }
        let [a, b, c, d] = stored;
        (half([a, b]), half([c, d]))
    }

    /// Eight halves.
    #[inline(always)]
    pub fn halves(self, stored: &[u8; 16], floats: &mut [f32; 8]) {
        #[cfg(target_arch = "x86_64")]
        if ON {
            use std::arch::x86_64::*;
            // SAFETY: the CPU has F16C, as `new` asks; both arrays are as large
            // as the registers, and neither needs alignment.
            unsafe {
                let halves = _mm_loadu_si128(stored.as_ptr().cast());
                return _mm256_storeu_ps(floats.as_mut_ptr(), _mm256_cvtph_ps(halves));
            }
        }
        for (float, half) in floats.iter_mut().zip(stored.as_chunks().0) {
            *float = self::half(*half);
        }
    }
}

/// One IEEE half precision float, by integer arithmetic: compilers load a
/// single one for the CPU's conversion in a way that stalls on the one before.
///
/// As the bits of an f32 it is too small by 2^112, also if it is subnormal;
/// infinity and NaN need the exponent of theirs.
#[inline(always)]
pub(super) fn half(stored: [u8; 2]) -> f32 {
    let bits = u32::from(u16::from_le_bytes(stored));
    let magnitude = bits & 0x7fff;
    let value = f32::from_bits(magnitude << 13) * f32::from_bits((127 + 112) << 23);
    let special = if magnitude >= 0x7c00 { 0x7f80_0000 } else { 0 };
    f32::from_bits(value.to_bits() | special | (bits & 0x8000) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use multiversion::multiversion;
    use multiversion::target::target_cfg_f;

    #[multiversion(targets = "simd")]
    fn by_cpu(stored: &[u8; 16]) -> ([f32; 8], [f32; 2]) {
        const NATIVE: bool = target_cfg_f!(all(target_feature = "fma", target_feature = "f16c"));
        // SAFETY: this code is compiled for what NATIVE says and chosen by CPU.
        let native = unsafe { Native::<NATIVE>::new() };
        let mut floats = [0.0; 8];
        native.halves(stored, &mut floats);
        let pair = native.half_pair([stored[0], stored[1], stored[2], stored[3]]);
        (floats, pair.into())
    }

    fn check(got: f32, bits: u16) {
        let expected = ::half::f16::from_bits(bits).to_f32();
        let both_nan = expected.is_nan() && got.is_nan();
        let equal = expected.to_bits() == got.to_bits();
        assert!(both_nan || equal, "{bits:#x}: {got}");
    }

    #[test]
    fn every_half_converts_exactly() {
        for first in (0..=u16::MAX).step_by(8) {
            let bits: Vec<u16> = (first..=first + 7).collect();
            let mut stored = [0; 16];
            for (two, bits) in stored.as_chunks_mut::<2>().0.iter_mut().zip(&bits) {
                *two = bits.to_le_bytes();
                check(half(*two), *bits);
            }
            let (eight, pair) = by_cpu(&stored);
            for (got, bits) in eight.iter().zip(&bits).chain(pair.iter().zip(&bits)) {
                check(*got, *bits);
            }
        }
    }
}
