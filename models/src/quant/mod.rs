//! From stored blocks to f32.
//!
//! Each value is computed in f32 exactly as the format's definition says (the
//! same operations in the same order as ggml's `dequantize_row_*`), so results
//! are bit-identical on every CPU. Loops are plain Rust over blocks of fixed
//! size, compiled once per instruction set and chosen at run time.

mod float;
mod half;
mod k;
mod legacy;

use crate::DType;

/// Defines `fn $name(bytes, out)` that applies `$block` to each block, compiled
/// for every instruction set that is worth it.
///
/// `$block` must be `#[inline(always)]` and called directly (not through a
/// generic parameter), or it is compiled for the baseline instruction set alone.
macro_rules! dequantizer {
    ($name:ident, $block:path) => {
        #[multiversion::multiversion(targets(
            "x86_64+avx512f+avx512bw+avx512vl+avx512dq",
            "x86_64+avx2+fma+f16c",
            "aarch64+neon"
        ))]
        pub(super) fn $name(bytes: &[u8], out: &mut [f32]) {
            let (blocks, _) = bytes.as_chunks();
            let (outs, _) = out.as_chunks_mut();
            for (stored, values) in blocks.iter().zip(outs) {
                $block(stored, values);
            }
        }
    };
}
use dequantizer;

/// Writes the elements stored in `bytes` as f32.
///
/// `out` holds whole blocks, and `bytes` is exactly as long as they take
/// ([`DType::row_bytes`] of `out.len()`). If not, the blocks that are whole in
/// both are written and the rest of `out` is left alone; debug builds panic.
/// Neither slice needs any alignment.
pub fn dequantize(dtype: DType, bytes: &[u8], out: &mut [f32]) {
    debug_assert_eq!(dtype.row_bytes(out.len()), Some(bytes.len()), "{dtype}");
    match dtype {
        DType::F32 => float::f32(bytes, out),
        DType::F16 => half::f16(bytes, out),
        DType::BF16 => float::bf16(bytes, out),
        DType::Q8_0 => legacy::q8_0(bytes, out),
        DType::Q4_0 => legacy::q4_0(bytes, out),
        DType::Q4_1 => legacy::q4_1(bytes, out),
        DType::Q5_0 => legacy::q5_0(bytes, out),
        DType::Q5_1 => legacy::q5_1(bytes, out),
        DType::Q4K => k::q4_k(bytes, out),
        DType::Q5K => k::q5_k(bytes, out),
        DType::Q6K => k::q6_k(bytes, out),
    }
}
