//! IEEE half precision to single.
//!
//! The conversions of the `half` crate ask the CPU what it can do on every call
//! and cannot be inlined into a loop compiled for another instruction set.

/// One value, without branches: cheap inside a vectorised loop.
#[inline(always)]
pub(super) fn f16_to_f32(stored: [u8; 2]) -> f32 {
    const EXPONENT: u32 = 0x7c00 << 13;
    /// The difference of the two formats' exponent biases, 127 - 15.
    const REBIAS: u32 = 112 << 23;
    let half = u32::from(u16::from_le_bytes(stored));
    let magnitude = (half & 0x7fff) << 13;
    let normal = f32::from_bits(magnitude + REBIAS);
    // Infinities and NaN need the largest exponent of f32.
    let special = f32::from_bits(magnitude + 2 * REBIAS);
    // Reading a subnormal as a normal number adds 2^-14: take it off again.
    let subnormal = f32::from_bits(magnitude + REBIAS + (1 << 23)) - f32::from_bits(113 << 23);
    let value = match magnitude & EXPONENT {
        0 => subnormal,
        EXPONENT => special,
        _ => normal,
    };
    f32::from_bits(value.to_bits() | (half & 0x8000) << 16)
}

/// `out.len()` values, by the CPU's own conversion where it has one.
pub(super) fn f16(bytes: &[u8], out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("f16c") {
        // SAFETY: the CPU has F16C, and with it AVX.
        return unsafe { f16c(bytes, out) };
    }
    portable(bytes, out);
}

#[inline(always)]
fn portable(bytes: &[u8], out: &mut [f32]) {
    let (halves, _) = bytes.as_chunks();
    for (half, y) in halves.iter().zip(out) {
        *y = f16_to_f32(*half);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx,f16c")]
fn f16c(bytes: &[u8], out: &mut [f32]) {
    use std::arch::x86_64::{_mm_loadu_si128, _mm256_cvtph_ps, _mm256_storeu_ps};

    let (eights, _) = bytes.as_chunks::<16>();
    let (outs, _) = out.as_chunks_mut::<8>();
    for (halves, y) in eights.iter().zip(outs) {
        // SAFETY: both arrays are as large as the registers, and neither
        // instruction needs alignment.
        unsafe {
            let halves = _mm_loadu_si128(halves.as_ptr().cast());
            _mm256_storeu_ps(y.as_mut_ptr(), _mm256_cvtph_ps(halves));
        }
    }
    let done = (bytes.len() / 16).min(out.len() / 8);
    portable(&bytes[16 * done..], &mut out[8 * done..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_converts_exactly() {
        let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        // One less than all, so that a rest is left after the eights.
        let mut out = vec![0.0; 65535];
        f16(&bytes[..131_070], &mut out);
        for (bits, by_cpu) in (0..=u16::MAX).zip(out) {
            let expected = half::f16::from_bits(bits).to_f32();
            for got in [by_cpu, f16_to_f32(bits.to_le_bytes())] {
                let both_nan = expected.is_nan() && got.is_nan();
                assert!(
                    both_nan || expected.to_bits() == got.to_bits(),
                    "{bits:#x}: {got}"
                );
            }
        }
    }
}
