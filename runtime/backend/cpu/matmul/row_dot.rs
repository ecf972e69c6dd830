//! Stored rows times one vector, without writing the weights as f32 anywhere.

use kcache_models::DType;
use multiversion::multiversion;
use multiversion::target::target_cfg_f;

use super::native::Native;
use super::stored::{self, PART};
use crate::backend::cpu::dot::{LANES, sum_lanes};

/// `out[r] = Σ w[r][i] x[i]` for the rows `w` of `x.len()` elements that
/// `bytes` stores, `out.len()` of them.
pub(super) fn rows(dtype: DType, bytes: &[u8], x: &[f32], out: &mut [f32]) {
    debug_assert_eq!(
        dtype.row_bytes(x.len()).map(|n| n * out.len()),
        Some(bytes.len())
    );
    match dtype {
        DType::F32 => f32(bytes, x, out),
        DType::F16 => f16(bytes, x, out),
        DType::BF16 => bf16(bytes, x, out),
        DType::Q8_0 => q8_0(bytes, x, out),
        DType::Q4_0 => q4_0(bytes, x, out),
        DType::Q4_1 => q4_1(bytes, x, out),
        DType::Q5_0 => q5_0(bytes, x, out),
        DType::Q5_1 => q5_1(bytes, x, out),
        DType::Q4K => q4_k(bytes, x, out),
        DType::Q5K => q5_k(bytes, x, out),
        DType::Q6K => q6_k(bytes, x, out),
    }
}

/// Defines [`rows`] for the blocks of `$len` elements and `$bytes` bytes that
/// `stored::$name` decodes.
macro_rules! rows_of {
    ($name:ident, $len:literal, $bytes:literal) => {
        #[multiversion(targets = "simd")]
        fn $name(bytes: &[u8], x: &[f32], out: &mut [f32]) {
            const NATIVE: bool = target_cfg_f!(any(
                all(target_feature = "fma", target_feature = "f16c"),
                target_arch = "aarch64"
            ));
            // SAFETY: this code is compiled for what NATIVE says and chosen by CPU.
            let cpu = unsafe { Native::<NATIVE>::new() };
            let row_bytes = bytes.len() / out.len().max(1);
            let (xs, x_rest) = x.as_chunks::<$len>();
            for (row, out) in bytes.chunks_exact(row_bytes).zip(out) {
                let mut sums = [[0.0; LANES]; 2];
                let (blocks, rest) = row.as_chunks::<$bytes>();
                for (block, x) in blocks.iter().zip(xs) {
                    let (parts, _) = x.as_chunks::<PART>();
                    // Not over `parts`: only a constant range is unrolled.
                    #[allow(clippy::needless_range_loop)]
                    for part in 0..$len / PART {
                        let weights = stored::$name(cpu, block, part);
                        sums = add_products(cpu, &weights, &parts[part], sums);
                    }
                }
                if !rest.is_empty() {
                    // Only floats have rows of less than whole blocks; zeros fill up.
                    let (mut block, mut x) = ([0; $bytes], [0.0; PART]);
                    block[..rest.len()].copy_from_slice(rest);
                    x[..x_rest.len()].copy_from_slice(x_rest);
                    sums = add_products(cpu, &stored::$name(cpu, &block, 0), &x, sums);
                }
                let [mut lanes, high] = sums;
                for (lane, high) in lanes.iter_mut().zip(high) {
                    *lane += high;
                }
                *out = sum_lanes(lanes);
            }
        }
    };
}

rows_of!(f32, 32, 128);
rows_of!(f16, 32, 64);
rows_of!(bf16, 32, 64);
rows_of!(q8_0, 32, 34);
rows_of!(q4_0, 32, 18);
rows_of!(q4_1, 32, 20);
rows_of!(q5_0, 32, 22);
rows_of!(q5_1, 32, 24);
rows_of!(q4_k, 256, 144);
rows_of!(q5_k, 256, 176);
rows_of!(q6_k, 256, 210);

#[inline(always)]
fn add_products<const ON: bool>(
    cpu: Native<ON>,
    weights: &[f32; PART],
    x: &[f32; PART],
    [mut low, mut high]: [[f32; LANES]; 2],
) -> [[f32; LANES]; 2] {
    for i in 0..LANES {
        low[i] = cpu.mul_add(weights[i], x[i], low[i]);
        high[i] = cpu.mul_add(weights[LANES + i], x[LANES + i], high[i]);
    }
    [low, high]
}
