//! Matrix products by warpgroups.

use cuda_std::{Float16, Global, GlobalMut, Kernel, TensorMap, bf16, f16};
use gpu_kernels::gemm_wgmma::{self as gemm, TileShape};

use crate::device::{Gpu, LaunchConfig, has_wgmma};
use crate::products_skinny::{compare_gated, product};
use crate::support::{Random, cases, compare, null, wide, wide_f32};

type Product = fn(GlobalMut<f32>, TensorMap, TensorMap, Global<f32>, Global<f32>, u32, u32, u32);
type Gated<T> = fn(GlobalMut<T>, TensorMap, TensorMap, TensorMap, u32, u32, u32);

fn config(shape: TileShape, blocks: u32, seed: usize) -> LaunchConfig {
    LaunchConfig::new([blocks, 1, 1], gemm::THREADS)
        .dynamic_shared(shape.shared_bytes)
        .seed(seed as u64)
}

/// Multiplies random matrices by `blocks` blocks and compares; with `adds`, bias and what `out` held
/// before are added.
fn check<T: Float16 + Sync>(
    (kernel, multiply, shape): (&Kernel, Product, TileShape),
    (m, n, k): (usize, usize, usize),
    blocks: u32,
    adds: bool,
) {
    let mut random = Random::new((m * 1_000_000 + n * 1000 + k) as u64);
    let mut gpu = Gpu::new();
    let (x, w): (Vec<T>, Vec<T>) = (random.halves(m * k), random.halves(n * k));
    let (bias, before) = (random.floats(n), random.floats(m * n));
    let (x_buffer, w_buffer) = (gpu.upload("x", &x), gpu.upload("w", &w));
    let x_map = gpu.tensor_map(x_buffer, [m, k], shape.rows).unwrap();
    let w_map = gpu.tensor_map(w_buffer, [n, k], shape.columns).unwrap();
    let (out, bias_buffer) = match adds {
        true => (
            gpu.upload("out", &before),
            gpu.upload("bias", &bias).global(),
        ),
        false => (gpu.allocate::<f32>("out", m * n), null()),
    };
    let target = out.global_mut();
    let residual = if adds { out.global() } else { null() };
    gpu.launch(kernel, config(shape, blocks, m), move || {
        let (m, n, k) = (m as u32, n as u32, k as u32);
        multiply(target, x_map, w_map, bias_buffer, residual, m, n, k);
    })
    .unwrap();
    let mut want = product(&wide(&x), &wide(&w), k);
    if adds {
        for (i, want) in want.iter_mut().enumerate() {
            *want += f64::from(bias[i % n]) + f64::from(before[i]);
        }
    }
    let what = format!("{} of {m}×{n}×{k}", kernel.name);
    let limit = 1e-11_f64.max(k as f64 * 2e-13);
    compare(&what, &wide_f32(&gpu.download(out)), &want, n, limit);
}

/// The gate of random matrices, by `blocks` blocks.
fn check_gated<T: Float16>(
    (kernel, multiply): (&Kernel, Gated<T>),
    (m, n, k): (usize, usize, usize),
    blocks: u32,
) {
    let mut random = Random::new((m * 1_000_000 + n * 1000 + k + 1) as u64);
    let mut gpu = Gpu::new();
    let x: Vec<T> = random.halves(m * k);
    let (gate, up): (Vec<T>, Vec<T>) = (random.halves(n * k), random.halves(n * k));
    let x_buffer = gpu.upload("x", &x);
    let x_map = gpu.tensor_map(x_buffer, [m, k], gemm::GATED.rows).unwrap();
    let [gate_map, up_map] = [("gate", &gate), ("up", &up)].map(|(name, values)| {
        let buffer = gpu.upload(name, values);
        gpu.tensor_map(buffer, [n, k], gemm::GATED.columns).unwrap()
    });
    let out = gpu.allocate::<T>("out", m * n);
    let target = out.global_mut();
    gpu.launch(kernel, config(gemm::GATED, blocks, m), move || {
        let (m, n, k) = (m as u32, n as u32, k as u32);
        multiply(target, x_map, gate_map, up_map, m, n, k);
    })
    .unwrap();
    let what = format!("{} of {m}×{n}×{k}", kernel.name);
    compare_gated(&what, &gpu.download(out), [&x, &gate, &up], [n, k]);
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
const WIDE_F16: (&Kernel, Product, TileShape) = (
    &gemm::GEMM_WGMMA_256_F16,
    gemm::gemm_wgmma_256_f16,
    gemm::WIDE,
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
        check::<bf16>(WIDE_BF16, shape, blocks, shape.1 % 16 == 8);
    }
    check::<f16>(WIDE_F16, (67, 24, 72), 1, false);
}

#[test]
fn narrow_tiles_of_warpgroups_multiply() {
    if !has_wgmma() {
        return;
    }
    // More stages than the ring has, a tile for which there is no block, a single column of tiles.
    let small = [((65, 136, 8), 3), ((1, 16, 520), 1)];
    let large = [((512, 4096, 4096), 132), ((8192, 584, 1536), 132)];
    for (shape, blocks) in cases(&small, &large) {
        check::<bf16>(NARROW_BF16, shape, blocks, shape.1 % 16 == 8);
    }
    check::<f16>(NARROW_F16, (129, 72, 72), 1, true);
}

#[test]
fn warpgroups_apply_the_gate() {
    if !has_wgmma() {
        return;
    }
    let multiply: Gated<bf16> = gemm::gemm_wgmma_gated_bf16;
    // Several tiles of a block, more stages than the ring has, part of a tile.
    let small = [((130, 264, 72), 2), ((65, 8, 328), 1)];
    let large = [((2048, 11008, 4096), 132), ((300, 4104, 2056), 100)];
    for (size, blocks) in cases(&small, &large) {
        check_gated((&gemm::GEMM_WGMMA_GATED_BF16, multiply), size, blocks);
    }
    let multiply: Gated<f16> = gemm::gemm_wgmma_gated_f16;
    check_gated((&gemm::GEMM_WGMMA_GATED_F16, multiply), (67, 24, 64), 1);
}
