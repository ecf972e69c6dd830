//! Super-blocks of 256 elements with quantised scales: Q4_K, Q5_K, Q6_K.
//!
//! Q4_K and Q5_K: f16 `d` and `dmin`, then eight 6-bit pairs (scale, minimum)
//! in 12 bytes; sub-block `s` of 32 elements is `d·scale·q - dmin·min`.
//! Q6_K: sixteen sub-blocks of 16 elements, each with an 8-bit scale.

use super::dequantizer;
use super::half::f16_to_f32;

dequantizer!(q4_k, q4_k_block);
dequantizer!(q5_k, q5_k_block);
dequantizer!(q6_k, q6_k_block);

/// `d`, `dmin`, 12 bytes of scales, 128 bytes of nibbles: bytes `32p..` hold
/// sub-block `2p` in their low and `2p + 1` in their high nibbles.
#[inline(always)]
fn q4_k_block(block: &[u8; 144], out: &mut [f32; 256]) {
    let scales = sub_block_scales(block);
    let (nibbles, _) = block[16..].as_chunks::<32>();
    let (outs, _) = out.as_chunks_mut::<32>();
    for (s, y) in outs.iter_mut().enumerate() {
        let (scale, min) = scales[s];
        let shift = 4 * (s % 2);
        for (q, y) in nibbles[s / 2].iter().zip(y) {
            *y = scale * f32::from((q >> shift) & 0xf) - min;
        }
    }
}

/// As Q4_K, with 32 bytes of fifth bits before the nibbles: bit `s` of byte `i`
/// belongs to element `i` of sub-block `s`.
#[inline(always)]
fn q5_k_block(block: &[u8; 176], out: &mut [f32; 256]) {
    let scales = sub_block_scales(block);
    let fifth = &block[16..48];
    let (nibbles, _) = block[48..].as_chunks::<32>();
    let (outs, _) = out.as_chunks_mut::<32>();
    for (s, y) in outs.iter_mut().enumerate() {
        let (scale, min) = scales[s];
        let shift = 4 * (s % 2);
        for ((q, bits), y) in nibbles[s / 2].iter().zip(fifth).zip(y) {
            let code = (q >> shift) & 0xf | ((bits >> s) & 1) << 4;
            *y = scale * f32::from(code) - min;
        }
    }
}

/// `(d * scale, dmin * min)` of the eight sub-blocks.
///
/// The first four pairs are the low 6 bits of bytes 0..4 and 4..8. The others
/// have their low 4 bits in the nibbles of bytes 8..12 and their high 2 bits
/// on top of bytes 0..8.
#[inline(always)]
fn sub_block_scales(block: &[u8]) -> [(f32, f32); 8] {
    let d = f16_to_f32([block[0], block[1]]);
    let dmin = f16_to_f32([block[2], block[3]]);
    let packed = &block[4..16];
    let mut scales = [(0.0, 0.0); 8];
    for j in 0..4 {
        let (a, b, c) = (packed[j], packed[j + 4], packed[j + 8]);
        scales[j] = (d * f32::from(a & 63), dmin * f32::from(b & 63));
        let scale = c & 0xf | (a >> 6) << 4;
        let min = c >> 4 | (b >> 6) << 4;
        scales[j + 4] = (d * f32::from(scale), dmin * f32::from(min));
    }
    scales
}

/// 128 bytes of low nibbles, 64 bytes of high bit pairs, 16 signed scales, `d`;
/// codes are biased by 32.
///
/// Each half of 128 elements takes 64 nibble bytes and 32 bytes of pairs. Its
/// quarter `p` of 32 elements is in nibble `p / 2` of bytes `32 (p % 2)..`, and
/// in pair `p` of all 32.
#[inline(always)]
fn q6_k_block(block: &[u8; 210], out: &mut [f32; 256]) {
    let (nibbles, _) = block[..128].as_chunks::<32>();
    let (pairs, _) = block[128..192].as_chunks::<32>();
    let (scales, _) = block[192..208].as_chunks::<2>();
    let d = f16_to_f32([block[208], block[209]]);
    let (quarters, _) = out.as_chunks_mut::<32>();
    for (i, y) in quarters.iter_mut().enumerate() {
        let (half, p) = (i / 4, i % 4);
        let low = &nibbles[2 * half + p % 2];
        let high = &pairs[half];
        let scale = scales[i].map(|s| d * f32::from(s as i8));
        for (l, y) in y.iter_mut().enumerate() {
            let code = (low[l] >> (4 * (p / 2))) & 0xf | ((high[l] >> (2 * p)) & 3) << 4;
            *y = scale[l / 16] * f32::from(code as i8 - 32);
        }
    }
}
