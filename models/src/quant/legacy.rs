//! Blocks of 32 elements with one scale: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0.
//!
//! A block starts with an f16 scale `d`; the `_1` types add an f16 minimum `m`.
//! Byte `j` of the nibbles holds element `j` (low) and element `j + 16` (high);
//! the Q5 types keep the fifth bit of element `j` in bit `j` of a 32-bit word.

use super::dequantizer;
use super::half::f16_to_f32;

dequantizer!(q8_0, q8_0_block);
dequantizer!(q4_0, q4_0_block);
dequantizer!(q4_1, q4_1_block);
dequantizer!(q5_0, q5_0_block);
dequantizer!(q5_1, q5_1_block);

/// `d`, 32 signed bytes.
#[inline(always)]
fn q8_0_block(block: &[u8; 34], out: &mut [f32; 32]) {
    let d = f16_to_f32([block[0], block[1]]);
    for (q, y) in block[2..].iter().zip(out) {
        *y = d * f32::from(*q as i8);
    }
}

/// `d`, 16 bytes of nibbles biased by 8.
#[inline(always)]
fn q4_0_block(block: &[u8; 18], out: &mut [f32; 32]) {
    let d = f16_to_f32([block[0], block[1]]);
    for (q, y) in nibbles(&block[2..]).iter().zip(out) {
        *y = d * f32::from(*q as i8 - 8);
    }
}

/// `d`, `m`, 16 bytes of nibbles.
#[inline(always)]
fn q4_1_block(block: &[u8; 20], out: &mut [f32; 32]) {
    let d = f16_to_f32([block[0], block[1]]);
    let m = f16_to_f32([block[2], block[3]]);
    for (q, y) in nibbles(&block[4..]).iter().zip(out) {
        *y = d * f32::from(*q) + m;
    }
}

/// `d`, 4 bytes of fifth bits, 16 bytes of nibbles; biased by 16.
#[inline(always)]
fn q5_0_block(block: &[u8; 22], out: &mut [f32; 32]) {
    let d = f16_to_f32([block[0], block[1]]);
    let fifth = u32::from_le_bytes([block[2], block[3], block[4], block[5]]);
    for ((j, q), y) in nibbles(&block[6..]).iter().enumerate().zip(out) {
        *y = d * (q5_code(*q, fifth, j) - 16) as f32;
    }
}

/// `d`, `m`, 4 bytes of fifth bits, 16 bytes of nibbles.
#[inline(always)]
fn q5_1_block(block: &[u8; 24], out: &mut [f32; 32]) {
    let d = f16_to_f32([block[0], block[1]]);
    let m = f16_to_f32([block[2], block[3]]);
    let fifth = u32::from_le_bytes([block[4], block[5], block[6], block[7]]);
    for ((j, q), y) in nibbles(&block[8..]).iter().enumerate().zip(out) {
        *y = d * q5_code(*q, fifth, j) as f32 + m;
    }
}

/// Element `j` of a Q5 block, 0 to 31.
#[inline(always)]
fn q5_code(nibble: u8, fifth: u32, j: usize) -> i32 {
    i32::from(nibble) | ((fifth >> j) as i32 & 1) << 4
}

/// The 32 nibbles of 16 bytes in the order of the elements.
///
/// Opaque, because the compiler would otherwise vectorise across blocks and
/// gather byte by byte, which is six times slower than within a block.
#[inline(always)]
fn nibbles(packed: &[u8]) -> [u8; 32] {
    let mut nibbles = [0; 32];
    for (j, byte) in packed.iter().enumerate() {
        nibbles[j] = byte & 0xf;
        nibbles[j + 16] = byte >> 4;
    }
    std::hint::black_box(nibbles)
}
