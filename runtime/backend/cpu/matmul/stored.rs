//! Stored blocks as f32, 32 elements at a time, for loops that use each weight once.
//!
//! The layouts are those of [`kcache_models::quant`], which the tests compare
//! with. Values may differ from its by one rounding, as `d * q + m` is fused.
//! Everything here is inlined into loops compiled for one instruction set, and
//! written in the shape that vectorises there.

use crate::backend::cpu::dot::mul_add;

/// Elements that one call decodes.
pub(super) const PART: usize = 32;

#[inline(always)]
pub(super) fn f32<const FMA: bool>(block: &[u8; 128], _part: usize) -> [f32; PART] {
    let (stored, _) = block.as_chunks::<4>();
    std::array::from_fn(|j| f32::from_le_bytes(stored[j]))
}

#[inline(always)]
pub(super) fn f16<const FMA: bool>(block: &[u8; 64], _part: usize) -> [f32; PART] {
    let (stored, _) = block.as_chunks::<2>();
    std::array::from_fn(|j| half(stored[j]))
}

#[inline(always)]
pub(super) fn bf16<const FMA: bool>(block: &[u8; 64], _part: usize) -> [f32; PART] {
    let (stored, _) = block.as_chunks::<2>();
    std::array::from_fn(|j| f32::from_bits(u32::from(u16::from_le_bytes(stored[j])) << 16))
}

#[inline(always)]
pub(super) fn q8_0<const FMA: bool>(block: &[u8; 34], _part: usize) -> [f32; PART] {
    let d = half([block[0], block[1]]);
    std::array::from_fn(|j| d * f32::from(block[2 + j] as i8))
}

#[inline(always)]
pub(super) fn q4_0<const FMA: bool>(block: &[u8; 18], _part: usize) -> [f32; PART] {
    let d = half([block[0], block[1]]);
    affine::<FMA>(nibbles(&block[2..]), d, -8.0 * d)
}

#[inline(always)]
pub(super) fn q4_1<const FMA: bool>(block: &[u8; 20], _part: usize) -> [f32; PART] {
    let (d, m) = half_pair([block[0], block[1], block[2], block[3]]);
    affine::<FMA>(nibbles(&block[4..]), d, m)
}

#[inline(always)]
pub(super) fn q5_0<const FMA: bool>(block: &[u8; 22], _part: usize) -> [f32; PART] {
    let d = half([block[0], block[1]]);
    let fifth = u32::from_le_bytes([block[2], block[3], block[4], block[5]]);
    affine::<FMA>(five_bits(nibbles(&block[6..]), fifth), d, -16.0 * d)
}

#[inline(always)]
pub(super) fn q5_1<const FMA: bool>(block: &[u8; 24], _part: usize) -> [f32; PART] {
    let d = half([block[0], block[1]]);
    let m = half([block[2], block[3]]);
    let fifth = u32::from_le_bytes([block[4], block[5], block[6], block[7]]);
    affine::<FMA>(five_bits(nibbles(&block[8..]), fifth), d, m)
}

/// Sub-block `part` of a Q4_K block.
#[inline(always)]
pub(super) fn q4_k<const FMA: bool>(block: &[u8; 144], part: usize) -> [f32; PART] {
    let (scale, min) = k_scale_and_min(block, part);
    let (nibbles, _) = block[16..].as_chunks::<PART>();
    let shift = 4 * (part % 2);
    affine::<FMA>(nibbles[part / 2].map(|q| (q >> shift) & 0xf), scale, -min)
}

/// Sub-block `part` of a Q5_K block.
#[inline(always)]
pub(super) fn q5_k<const FMA: bool>(block: &[u8; 176], part: usize) -> [f32; PART] {
    let (scale, min) = k_scale_and_min(block, part);
    let (nibbles, _) = block[48..].as_chunks::<PART>();
    let (nibbles, fifth) = (&nibbles[part / 2], &block[16..48]);
    let shift = 4 * (part % 2);
    let codes =
        std::array::from_fn(|j| (nibbles[j] >> shift) & 0xf | ((fifth[j] >> part) & 1) << 4);
    affine::<FMA>(codes, scale, -min)
}

/// Elements `32 part..` of a Q6_K block, two sub-blocks.
#[inline(always)]
pub(super) fn q6_k<const FMA: bool>(block: &[u8; 210], part: usize) -> [f32; PART] {
    let (nibbles, _) = block[..128].as_chunks::<PART>();
    let (pairs, _) = block[128..192].as_chunks::<PART>();
    let (half_block, quarter) = (part / 4, part % 4);
    let (low, high) = (&nibbles[2 * half_block + quarter % 2], &pairs[half_block]);
    let d = half([block[208], block[209]]);
    let scale = |s: usize| d * f32::from(block[192 + 2 * part + s] as i8);
    let scales = [scale(0), scale(1)];
    std::array::from_fn(|j| {
        let code = (low[j] >> (4 * (quarter / 2))) & 0xf | ((high[j] >> (2 * quarter)) & 3) << 4;
        scales[j / 16] * f32::from(code as i8 - 32)
    })
}

/// `d * scale` and `dmin * min` of sub-block `s` of a Q4_K or Q5_K block.
#[inline(always)]
fn k_scale_and_min(block: &[u8], s: usize) -> (f32, f32) {
    let packed = &block[4..16];
    let (scale, min) = if s < 4 {
        (packed[s] & 63, packed[s + 4] & 63)
    } else {
        let (low, high_scale, high_min) = (packed[s + 4], packed[s - 4] >> 6, packed[s] >> 6);
        (low & 0xf | high_scale << 4, low >> 4 | high_min << 4)
    };
    let d = half([block[0], block[1]]);
    let dmin = half([block[2], block[3]]);
    (d * f32::from(scale), dmin * f32::from(min))
}

/// `d * code + m`.
#[inline(always)]
fn affine<const FMA: bool>(codes: [u8; PART], d: f32, m: f32) -> [f32; PART] {
    codes.map(|code| mul_add::<FMA>(d, f32::from(code), m))
}

/// The low nibbles of 16 bytes, then the high ones.
#[inline(always)]
fn nibbles(packed: &[u8]) -> [u8; PART] {
    std::array::from_fn(|j| {
        if j < 16 {
            packed[j] & 0xf
        } else {
            packed[j - 16] >> 4
        }
    })
}

#[inline(always)]
fn five_bits(nibbles: [u8; PART], fifth: u32) -> [u8; PART] {
    std::array::from_fn(|j| nibbles[j] | ((fifth >> j) as u8 & 1) << 4)
}

/// IEEE half precision. As the bits of an f32 the value is too small by 2^112,
/// also if it is subnormal; infinity and NaN need the exponent of theirs.
#[inline(always)]
fn half(stored: [u8; 2]) -> f32 {
    let bits = u32::from(u16::from_le_bytes(stored));
    let magnitude = bits & 0x7fff;
    let value = f32::from_bits(magnitude << 13) * f32::from_bits((127 + 112) << 23);
    let special = if magnitude >= 0x7c00 { 0x7f80_0000 } else { 0 };
    f32::from_bits(value.to_bits() | special | (bits & 0x8000) << 16)
}

/// Two halves at once. One branch, which scales of sane weights never take,
/// costs less than two selections.
#[inline(always)]
fn half_pair(stored: [u8; 4]) -> (f32, f32) {
    let pair = u32::from_le_bytes(stored);
    if ((pair & 0x7c00_7c00) + 0x0400_0400) & 0x8000_8000 != 0 {
        return special_pair(stored);
    }
    let finite = |bits: u32| {
        let shifted = ((bits as i32) >> 3) as u32 & 0x8fff_e000;
        f32::from_bits(shifted) * f32::from_bits((127 + 112) << 23)
    };
    (finite(pair << 16), finite(pair & 0xffff_0000))
}

#[cold]
fn special_pair([a, b, c, d]: [u8; 4]) -> (f32, f32) {
    (half([a, b]), half([c, d]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_converts_exactly() {
        for bits in 0..=u16::MAX {
            let [a, b] = bits.to_le_bytes();
            let expected = ::half::f16::from_bits(bits).to_f32();
            let (first, one) = half_pair([a, b, 0, 0x3c]);
            let (zero, second) = half_pair([0, 0, a, b]);
            assert_eq!((one, zero), (1.0, 0.0));
            for got in [half([a, b]), first, second] {
                let both_nan = expected.is_nan() && got.is_nan();
                assert!(
                    both_nan || expected.to_bits() == got.to_bits(),
                    "{bits:#x}: {got}"
                );
            }
        }
    }
}
