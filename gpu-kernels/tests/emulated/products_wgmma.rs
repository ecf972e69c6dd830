//! Matrix products by warpgroups.

use cuda_std::{Float16, Global, GlobalMut, Kernel, TensorMap, bf16, f16};
use gpu_kernels::gemm_wgmma::{self as gemm, TileShape};
use rayon::prelude::*;

use crate::device::{Gpu, LaunchConfig, has_wgmma};
use crate::support::{Random, cases, compare, dot, null, wide, wide_f32};

type Product = fn(GlobalMut<f32>, TensorMap, TensorMap, Global<f32>, u32, u32, u32);

/// Multiplies random matrices by `blocks` blocks and compares.
fn check<T: Float16 + Sync>(
    (kernel, product, shape): (&Kernel, Product, TileShape),
    (m, n, k): (usize, usize, usize),
    blocks: u32,
    with_bias: bool,
) {
    let mut random = Random::new((m * 1_000_000 + n * 1000 + k) as u64);
    let mut gpu = Gpu::new();
    let (x, w): (Vec<T>, Vec<T>) = (random.halves(m * k), random.halves(n * k));
    let bias = random.floats(n);
    let out = gpu.allocate::<f32>("out", m * n);
    let (x_buffer, w_buffer) = (gpu.upload("x", &x), gpu.upload("w", &w));
    let x_map = gpu.tensor_map(x_buffer, [m, k], shape.rows).unwrap();
    let w_map = gpu.tensor_map(w_buffer, [n, k], shape.columns).unwrap();
    let bias_buffer = match with_bias {
        true => gpu.upload("bias", &bias).global(),
        false => null(),
    };
    let target = out.global_mut();
    let config = LaunchConfig::new([blocks, 1, 1], gemm::THREADS)
        .dynamic_shared(shape.shared_bytes)
        .seed(m as u64);
    gpu.launch(kernel, config, move || {
        let (m, n, k) = (m as u32, n as u32, k as u32);
        product(target, x_map, w_map, bias_buffer, m, n, k);
    })
    .unwrap();
    let (x, w) = (wide(&x), wide(&w));
    let row = |row| {
        let columns = w.chunks(k).zip(&bias);
        columns.map(move |(column, &bias)| {
            dot(row, column) + if with_bias { f64::from(bias) } else { 0.0 }
        })
    };
    let want: Vec<f64> = x.par_chunks(k).flat_map_iter(row).collect();
    let what = format!("{} of {m}×{n}×{k}", kernel.name);
    let limit = 1e-11_f64.max(k as f64 * 2e-13);
    compare(&what, &wide_f32(&gpu.download(out)), &want, n, limit);
}

const WIDE_BF16: (&Kernel, Product, TileShape) = (
    &gemm::GEMM_WGMMA_256_BF16,
    gemm::gemm_wgmma_256_bf16,
    gemm::WIDE,
);
const NARROW_BF16: (&Kernel, Product, TileShape) = (
    &gemm::GEMM_WGMMA_128_BF16,
    gemm::gemm_wgmma_128_bf16,
    gemm::NARROW,
);
const NARROW_F16: (&Kernel, Product, TileShape) = (
    &gemm::GEMM_WGMMA_128_F16,
    gemm::gemm_wgmma_128_f16,
    gemm::NARROW,
);

#[test]
fn wide_tiles_of_warpgroups_multiply() {
    if !has_wgmma() {
        return;
    }
    let small = [((130, 264, 136), 1), ((64, 8, 320), 3)];
    let large = [((2048, 4096, 4096), 132), ((129, 4104, 11008), 100)];
    for (shape, blocks) in cases(&small, &large) {
        check::<bf16>(WIDE_BF16, shape, blocks, blocks == 1);
    }
}

#[test]
fn narrow_tiles_of_warpgroups_multiply() {
    if !has_wgmma() {
        return;
    }
    // More stages than the ring has, a tile for which there is no block, a single column of tiles.
    let small = [((65, 136, 8), 3), ((1, 16, 520), 1)];
    let large = [((512, 4096, 4096), 132), ((8192, 576, 1536), 132)];
    for (shape, blocks) in cases(&small, &large) {
        check::<bf16>(NARROW_BF16, shape, blocks, blocks == 3);
    }
    check::<f16>(NARROW_F16, (129, 72, 72), 1, true);
}
