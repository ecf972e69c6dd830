//! Blocks of 32 elements with one scale: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0.
//!
//! A block starts with an f16 scale `d`; the `_1` types add an f16 minimum `m`.
//! Byte `j` of the nibbles holds element `j` (low) and element `j + 16` (high);
//! the Q5 types keep the fifth bit of element `j` in bit `j` of a 32-bit word.

use super::dequantizer;
use super::float::f16_to_f32;

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
    let (low, high) = out.split_at_mut(16);
    for ((q, lo), hi) in block[2..].iter().zip(low).zip(high) {
        *lo = d * f32::from((q & 0xf) as i8 - 8);
        *hi = d * f32::from((q >> 4) as i8 - 8);
    }
}

/// `d`, `m`, 16 bytes of nibbles.
#[inline(always)]
fn q4_1_block(block: &[u8; 20], out: &mut [f32; 32]) {
    let d = f16_to_f32([block[0], block[1]]);
    let m = f16_to_f32([block[2], block[3]]);
    let (low, high) = out.split_at_mut(16);
    for ((q, lo), hi) in block[4..].iter().zip(low).zip(high) {
        *lo = d * f32::from(q & 0xf) + m;
        *hi = d * f32::from(q >> 4) + m;
    }
}

/// `d`, 4 bytes of fifth bits, 16 bytes of nibbles; biased by 16.
#[inline(always)]
fn q5_0_block(block: &[u8; 22], out: &mut [f32; 32]) {
    let d = f16_to_f32([block[0], block[1]]);
    let q = q5_codes([block[2], block[3], block[4], block[5]], &block[6..]);
    for (q, y) in q.iter().zip(out) {
        *y = d * (*q - 16) as f32;
    }
}

/// `d`, `m`, 4 bytes of fifth bits, 16 bytes of nibbles.
#[inline(always)]
fn q5_1_block(block: &[u8; 24], out: &mut [f32; 32]) {
    let d = f16_to_f32([block[0], block[1]]);
    let m = f16_to_f32([block[2], block[3]]);
    let q = q5_codes([block[4], block[5], block[6], block[7]], &block[8..]);
    for (q, y) in q.iter().zip(out) {
        *y = d * *q as f32 + m;
    }
}

#[inline(always)]
fn q5_codes(fifth: [u8; 4], nibbles: &[u8]) -> [i32; 32] {
    let fifth = u32::from_le_bytes(fifth);
    let mut codes = [0; 32];
    let (low, high) = codes.split_at_mut(16);
    for (((j, q), lo), hi) in nibbles.iter().enumerate().zip(low).zip(high) {
        *lo = i32::from(q & 0xf) | ((fifth >> j) as i32 & 1) << 4;
        *hi = i32::from(q >> 4) | ((fifth >> (j + 16)) as i32 & 1) << 4;
    }
    codes
}
