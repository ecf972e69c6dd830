//! Stored blocks as f32, 32 elements at a time, for loops that use each weight once.
//!
//! The layouts are those of [`kcache_models::quant`], which the tests compare
//! with. Values may differ from its by one rounding, as `d * q + m` is fused.
//! Everything here is inlined into loops compiled for one instruction set. That
//! holds for plain loops only: `array::map` and the like are functions of their
//! own, compiled for the baseline.

use super::native::{Native, half};

/// Elements that one call decodes.
pub(super) const PART: usize = 32;

#[inline(always)]
pub(super) fn f32<const ON: bool>(_: Native<ON>, block: &[u8; 128], _part: usize) -> [f32; PART] {
    let mut floats = [0.0; PART];
    for (y, stored) in floats.iter_mut().zip(block.as_chunks().0) {
        *y = f32::from_le_bytes(*stored);
    }
    floats
}

#[inline(always)]
pub(super) fn f16<const ON: bool>(cpu: Native<ON>, block: &[u8; 64], _part: usize) -> [f32; PART] {
    let mut floats = [0.0; PART];
    for (y, stored) in floats.as_chunks_mut().0.iter_mut().zip(block.as_chunks().0) {
        cpu.halves(stored, y);
    }
    floats
}

#[inline(always)]
pub(super) fn bf16<const ON: bool>(_: Native<ON>, block: &[u8; 64], _part: usize) -> [f32; PART] {
    let mut floats = [0.0; PART];
    for (y, stored) in floats.iter_mut().zip(block.as_chunks().0) {
        *y = f32::from_bits(u32::from(u16::from_le_bytes(*stored)) << 16);
    }
    floats
}

#[inline(always)]
pub(super) fn q8_0<const ON: bool>(_: Native<ON>, block: &[u8; 34], _part: usize) -> [f32; PART] {
    let d = half([block[0], block[1]]);
    let mut floats = [0.0; PART];
    for (y, code) in floats.iter_mut().zip(&block[2..]) {
        *y = d * f32::from(*code as i8);
    }
    floats
}

#[inline(always)]
pub(super) fn q4_0<const ON: bool>(cpu: Native<ON>, block: &[u8; 18], _part: usize) -> [f32; PART] {
    let d = half([block[0], block[1]]);
    four_bits(cpu, &block[2..], d, -8.0 * d)
}

#[inline(always)]
pub(super) fn q4_1<const ON: bool>(cpu: Native<ON>, block: &[u8; 20], _part: usize) -> [f32; PART] {
    let (d, m) = cpu.half_pair([block[0], block[1], block[2], block[3]]);
    four_bits(cpu, &block[4..], d, m)
}

#[inline(always)]
pub(super) fn q5_0<const ON: bool>(cpu: Native<ON>, block: &[u8; 22], _part: usize) -> [f32; PART] {
    let d = half([block[0], block[1]]);
    let fifth = u32::from_le_bytes([block[2], block[3], block[4], block[5]]);
    five_bits(cpu, &block[6..], fifth, d, -16.0 * d)
}

#[inline(always)]
pub(super) fn q5_1<const ON: bool>(cpu: Native<ON>, block: &[u8; 24], _part: usize) -> [f32; PART] {
    let (d, m) = cpu.half_pair([block[0], block[1], block[2], block[3]]);
    let fifth = u32::from_le_bytes([block[4], block[5], block[6], block[7]]);
    five_bits(cpu, &block[8..], fifth, d, m)
}

/// Sub-block `part` of a Q4_K block.
#[inline(always)]
pub(super) fn q4_k<const ON: bool>(cpu: Native<ON>, block: &[u8; 144], part: usize) -> [f32; PART] {
    let (scale, min) = k_scale_and_min(cpu, block, part);
    let packed = &block[16..].as_chunks::<PART>().0[part / 2];
    let mut floats = [0.0; PART];
    for (y, q) in floats.iter_mut().zip(packed) {
        let code = (q >> (4 * (part % 2))) & 0xf;
        *y = cpu.mul_add(scale, f32::from(code), -min);
    }
    floats
}

/// Sub-block `part` of a Q5_K block.
#[inline(always)]
pub(super) fn q5_k<const ON: bool>(cpu: Native<ON>, block: &[u8; 176], part: usize) -> [f32; PART] {
    let (scale, min) = k_scale_and_min(cpu, block, part);
    let packed = &block[48..].as_chunks::<PART>().0[part / 2];
    let mut floats = [0.0; PART];
    for ((y, q), fifth) in floats.iter_mut().zip(packed).zip(&block[16..48]) {
        let code = (q >> (4 * (part % 2))) & 0xf | ((fifth >> part) & 1) << 4;
        *y = cpu.mul_add(scale, f32::from(code), -min);
    }
    floats
}

/// Elements `32 part..` of a Q6_K block, two sub-blocks.
#[inline(always)]
pub(super) fn q6_k<const ON: bool>(_: Native<ON>, block: &[u8; 210], part: usize) -> [f32; PART] {
    let (nibbles, _) = block[..128].as_chunks::<PART>();
    let (pairs, _) = block[128..192].as_chunks::<PART>();
    let (half_block, quarter) = (part / 4, part % 4);
    let (low, high) = (&nibbles[2 * half_block + quarter % 2], &pairs[half_block]);
    let d = half([block[208], block[209]]);
    let scales = &block[192 + 2 * part..];
    let scales = [
        d * f32::from(scales[0] as i8),
        d * f32::from(scales[1] as i8),
    ];
    let mut floats = [0.0; PART];
    for (j, y) in floats.iter_mut().enumerate() {
        let code = (low[j] >> (4 * (quarter / 2))) & 0xf | ((high[j] >> (2 * quarter)) & 3) << 4;
        *y = scales[j / 16] * f32::from(code as i8 - 32);
    }
    floats
}

/// `d * scale` and `dmin * min` of sub-block `s` of a Q4_K or Q5_K block.
#[inline(always)]
fn k_scale_and_min<const ON: bool>(cpu: Native<ON>, block: &[u8], s: usize) -> (f32, f32) {
    let packed = &block[4..16];
    let (scale, min) = if s < 4 {
        (packed[s] & 63, packed[s + 4] & 63)
    } else {
        let (low, high_scale, high_min) = (packed[s + 4], packed[s - 4] >> 6, packed[s] >> 6);
        (low & 0xf | high_scale << 4, low >> 4 | high_min << 4)
    };
    let (d, dmin) = cpu.half_pair([block[0], block[1], block[2], block[3]]);
    (d * f32::from(scale), dmin * f32::from(min))
}

/// `d * code + m` of the low nibbles of 16 bytes, then of the high ones.
#[inline(always)]
fn four_bits<const ON: bool>(cpu: Native<ON>, packed: &[u8], d: f32, m: f32) -> [f32; PART] {
    let mut floats = [0.0; PART];
    for j in 0..16 {
        floats[j] = cpu.mul_add(d, f32::from(packed[j] & 0xf), m);
        floats[j + 16] = cpu.mul_add(d, f32::from(packed[j] >> 4), m);
    }
    floats
}

/// As [`four_bits`], with one more bit for each element.
#[inline(always)]
fn five_bits<const ON: bool>(
    cpu: Native<ON>,
    packed: &[u8],
    fifth: u32,
    d: f32,
    m: f32,
) -> [f32; PART] {
    let mut floats = [0.0; PART];
    for j in 0..16 {
        let low = u32::from(packed[j] & 0xf) | ((fifth >> j) & 1) << 4;
        let high = u32::from(packed[j] >> 4) | ((fifth >> (j + 16)) & 1) << 4;
        floats[j] = cpu.mul_add(d, low as f32, m);
        floats[j + 16] = cpu.mul_add(d, high as f32, m);
    }
    floats
}
