//! Matrix products.

use cuda_std::{Float16, Global, GlobalMut, Kernel, bf16, f16};
use gpu_kernels::{gemm, gemv};
use rayon::prelude::*;

use crate::device::{Gpu, LaunchConfig};
use crate::support::{Random, cases, compare, dot, null, wide, wide_f32};

type Product<T> = fn(GlobalMut<f32>, Global<T>, Global<T>, Global<f32>, u32, u32, u32);

/// The squared error that sums of `k` products in 32 bits may leave.
fn limit(k: usize) -> f64 {
    1e-11_f64.max(k as f64 * 2e-13)
}

/// Multiplies random matrices with a kernel and compares.
fn check<T: Float16>(
    (kernel, product): (&Kernel, Product<T>),
    config: impl Fn(u32, u32) -> LaunchConfig,
    (m, n, k): (usize, usize, usize),
    with_bias: bool,
) {
    let mut random = Random::new((m * 1_000_000 + n * 1000 + k) as u64);
    let mut gpu = Gpu::new();
    let (x, w): (Vec<T>, Vec<T>) = (random.halves(m * k), random.halves(n * k));
    let bias = random.floats(n);
    let out = gpu.allocate::<f32>("out", m * n);
    let (x_buffer, w_buffer) = (gpu.upload("x", &x).global(), gpu.upload("w", &w).global());
    let bias_buffer = if with_bias {
        gpu.upload("bias", &bias).global()
    } else {
        null()
    };
    let target = out.global_mut();
    gpu.launch(kernel, config(m as u32, n as u32), move || {
        product(
            target,
            x_buffer,
            w_buffer,
            bias_buffer,
            m as u32,
            n as u32,
            k as u32,
        );
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
    compare(&what, &wide_f32(&gpu.download(out)), &want, n, limit(k));
}

fn tiled(shape: gemm::TileShape) -> impl Fn(u32, u32) -> LaunchConfig {
    move |m, n| {
        LaunchConfig::new(
            [n.div_ceil(shape.columns), m.div_ceil(shape.rows), 1],
            shape.threads,
        )
        .dynamic_shared(shape.shared_bytes)
        .seed(u64::from(m))
    }
}

#[test]
fn large_tiles_multiply() {
    let kernel = (
        &gemm::GEMM_LARGE_BF16,
        gemm::gemm_large_bf16 as Product<bf16>,
    );
    let small = [(128, 128, 128), (129, 130, 72), (1, 7, 8), (200, 3, 200)];
    let large = [(2048, 4096, 4096), (129, 4097, 11008), (1, 32000, 4096)];
    for shape in cases(&small, &large) {
        check(kernel, tiled(gemm::LARGE), shape, shape.0 == 129);
    }
    let kernel = (&gemm::GEMM_LARGE_F16, gemm::gemm_large_f16 as Product<f16>);
    check(kernel, tiled(gemm::LARGE), (65, 67, 104), true);
}

#[test]
fn small_tiles_multiply() {
    let kernel = (
        &gemm::GEMM_SMALL_BF16,
        gemm::gemm_small_bf16 as Product<bf16>,
    );
    let small = [(32, 64, 64), (9, 65, 136), (33, 200, 576), (1, 1, 8)];
    let large = [(64, 4096, 4096), (17, 11009, 4096), (9, 4096, 11008)];
    for shape in cases(&small, &large) {
        check(kernel, tiled(gemm::SMALL), shape, shape.0 == 9);
    }
    let kernel = (&gemm::GEMM_SMALL_F16, gemm::gemm_small_f16 as Product<f16>);
    check(kernel, tiled(gemm::SMALL), (17, 70, 40), false);
}

#[test]
fn few_rows_multiply() {
    let config =
        |_, n: u32| LaunchConfig::new([n.div_ceil(gemv::COLUMNS_PER_BLOCK), 1, 1], gemv::THREADS);
    let bf16_kernels: [(usize, (&Kernel, Product<bf16>)); 4] = [
        (1, (&gemv::GEMV_1_BF16, gemv::gemv_1_bf16)),
        (2, (&gemv::GEMV_2_BF16, gemv::gemv_2_bf16)),
        (4, (&gemv::GEMV_4_BF16, gemv::gemv_4_bf16)),
        (8, (&gemv::GEMV_8_BF16, gemv::gemv_8_bf16)),
    ];
    for (rows, kernel) in bf16_kernels {
        check(kernel, config, (rows, 64, 576), false);
        // Fewer rows than the kernel has room for, an odd number of columns, a part of a step.
        let small = [(rows.div_ceil(2), 33, 264)];
        let large = [(rows, 12288, 4096), (rows, 4097, 11008)];
        for shape in cases(&small, &large) {
            check(kernel, config, shape, true);
        }
    }
    let kernel = (&gemv::GEMV_4_F16, gemv::gemv_4_f16 as Product<f16>);
    check(kernel, config, (3, 5, 8), true);
}

#[test]
fn infinities_and_nan_stay_in_their_rows() {
    let (m, n, k) = (3, 9, 32);
    let mut x = vec![bf16::from_f32(1.0); m * k];
    x[5] = bf16::from_f32(f32::INFINITY);
    x[k + 6] = bf16::from_f32(f32::NAN);
    let mut gpu = Gpu::new();
    let out = gpu.allocate::<f32>("out", m * n);
    let x = gpu.upload("x", &x).global();
    let w = gpu.upload("w", &vec![bf16::from_f32(0.5); n * k]).global();
    let target = out.global_mut();
    gpu.launch(
        &gemm::GEMM_SMALL_BF16,
        tiled(gemm::SMALL)(m as u32, n as u32),
        move || {
            gemm::gemm_small_bf16(target, x, w, null(), m as u32, n as u32, k as u32);
        },
    )
    .unwrap();
    let rows = [f64::INFINITY, f64::NAN, 16.0];
    let want: Vec<f64> = rows.iter().flat_map(|&row| vec![row; n]).collect();
    compare("gemm", &wide_f32(&gpu.download(out)), &want, n, 0.0);
}
