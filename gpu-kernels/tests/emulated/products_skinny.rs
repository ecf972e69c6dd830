//! Matrix products for a few rows, by tensor cores.

use cuda_std::{Float16, Global, GlobalMut, Kernel, TensorMap, bf16, f16};
use gpu_kernels::gemm_skinny::{self as gemm, SkinnyShape};
use rayon::prelude::*;

use crate::device::{Buffer, Gpu, LaunchConfig, has_wgmma};
use crate::support::{Random, cases, compare, dot, null, wide, wide_f32};

/// How a kernel gets at weights: by their address, or by a map.
pub trait Weights<T>: Copy + 'static {
    fn of(gpu: &mut Gpu, w: Buffer<T>, size: [usize; 2], box_rows: u32) -> Self;
}

impl<T: Float16> Weights<T> for Global<T> {
    fn of(_: &mut Gpu, w: Buffer<T>, _: [usize; 2], _: u32) -> Self {
        w.global()
    }
}

impl<T: Float16> Weights<T> for TensorMap {
    fn of(gpu: &mut Gpu, w: Buffer<T>, size: [usize; 2], box_rows: u32) -> Self {
        gpu.tensor_map(w, size, box_rows).unwrap()
    }
}

pub type Product<T, W> = fn(GlobalMut<f32>, Global<T>, W, Global<f32>, Global<f32>, u32, u32, u32);
pub type Gated<T, W> = fn(GlobalMut<T>, Global<T>, W, W, u32, u32, u32);

/// Multiprocessors for kernels whose blocks stay: few, so that each has several parts.
pub const MULTIPROCESSORS: u32 = 4;

fn config(shape: SkinnyShape, m: usize, n: usize) -> LaunchConfig {
    let blocks = shape.blocks((n as u32).div_ceil(shape.columns), MULTIPROCESSORS);
    LaunchConfig::new([blocks, 1, 1], shape.threads)
        .dynamic_shared(shape.shared_bytes)
        .seed(m as u64)
}

/// `x · wᵀ`, both with rows of `k` elements.
pub fn product(x: &[f64], w: &[f64], k: usize) -> Vec<f64> {
    let row = |row| w.chunks(k).map(move |column| dot(row, column));
    x.par_chunks(k).flat_map_iter(row).collect()
}

/// Multiplies random matrices with a kernel and compares; with `adds`, bias and what `out` held
/// before are added.
pub fn check<T: Float16, W: Weights<T>>(
    (kernel, multiply, shape): (&Kernel, Product<T, W>, SkinnyShape),
    (m, n, k): (usize, usize, usize),
    adds: bool,
) {
    let mut random = Random::new((m * 1_000_000 + n * 1000 + k) as u64);
    let mut gpu = Gpu::new();
    let (x, w): (Vec<T>, Vec<T>) = (random.halves(m * k), random.halves(n * k));
    let (bias, before) = (random.floats(n), random.floats(m * n));
    let (x_buffer, w_buffer) = (gpu.upload("x", &x).global(), gpu.upload("w", &w));
    let weights = W::of(&mut gpu, w_buffer, [n, k], gemm::BOX_ROWS);
    let (out, bias_buffer) = match adds {
        true => (
            gpu.upload("out", &before),
            gpu.upload("bias", &bias).global(),
        ),
        false => (gpu.allocate::<f32>("out", m * n), null()),
    };
    let target = out.global_mut();
    let residual = if adds { out.global() } else { null() };
    gpu.launch(kernel, config(shape, m, n), move || {
        let (m, n, k) = (m as u32, n as u32, k as u32);
        multiply(target, x_buffer, weights, bias_buffer, residual, m, n, k);
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

/// The gate of random matrices.
pub fn check_gated<T: Float16, W: Weights<T>>(
    (kernel, multiply, shape): (&Kernel, Gated<T, W>, SkinnyShape),
    (m, n, k): (usize, usize, usize),
) {
    let mut random = Random::new((m * 1_000_000 + n * 1000 + k + 1) as u64);
    let mut gpu = Gpu::new();
    let x: Vec<T> = random.halves(m * k);
    let (gate, up): (Vec<T>, Vec<T>) = (random.halves(n * k), random.halves(n * k));
    let x_buffer = gpu.upload("x", &x).global();
    let [gate_weights, up_weights] = [("gate", &gate), ("up", &up)].map(|(name, values)| {
        let buffer = gpu.upload(name, values);
        W::of(&mut gpu, buffer, [n, k], gemm::GATED_BOX_ROWS)
    });
    let out = gpu.allocate::<T>("out", m * n);
    let target = out.global_mut();
    gpu.launch(kernel, config(shape.gated(), m, n), move || {
        let (m, n, k) = (m as u32, n as u32, k as u32);
        multiply(target, x_buffer, gate_weights, up_weights, m, n, k);
    })
    .unwrap();
    let what = format!("{} of {m}×{n}×{k}", kernel.name);
    compare_gated(&what, &gpu.download(out), [&x, &gate, &up], [n, k]);
}

/// Compares what a kernel gave with the gate of products of rows of `k` elements, in 64 bits.
pub fn compare_gated<T: Float16>(
    what: &str,
    got: &[T],
    [x, gate, up]: [&[T]; 3],
    [n, k]: [usize; 2],
) {
    let x = wide(x);
    let gates = product(&x, &wide(gate), k).into_iter();
    let gates = gates.zip(product(&x, &wide(up), k));
    let want: Vec<f64> = gates.map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect();
    // Rounded to 16 bits, eight of them significant in `bf16`.
    compare(what, &wide(got), &want, n, 1e-5);
}

/// The kernels for bf16, and whether only Hopper has them.
macro_rules! by_rows {
    ($form:ty: $($kernel:ident, $name:ident, $shape:expr, $hopper:literal;)*) => {{
        let all: [(&Kernel, $form, SkinnyShape, bool); 5] =
            [$((&gemm::$kernel, gemm::$name, $shape, $hopper)),*];
        all.into_iter().filter(|(.., hopper)| has_wgmma() || !hopper)
    }};
}

#[test]
fn skinny_products_add_bias_and_residual() {
    let kernels = by_rows! { Product<bf16, Global<bf16>>:
        GEMM_SKINNY_8_BF16, gemm_skinny_8_bf16, gemm::SHAPES[0], false;
        GEMM_SKINNY_16_BF16, gemm_skinny_16_bf16, gemm::SHAPES[1], false;
        GEMM_SKINNY_32_BF16, gemm_skinny_32_bf16, gemm::SHAPES[2], false;
        GEMM_SKINNY_64_BF16, gemm_skinny_64_bf16, gemm::SHAPES[3], false;
        GEMM_STREAMED_BF16, gemm_streamed_bf16, gemm::STREAMED, true;
    };
    for (kernel, multiply, shape, _) in kernels {
        let rows = shape.rows as usize;
        // Every row there is room for; one row, part of a tile of columns and of a step of `k`.
        let small = [(rows, 72, 264), (1, 21, 2584), (rows - 3, 9, 8)];
        let large = [
            (rows, 4096, 4096),
            (rows / 2, 12288, 4096),
            (rows, 4097, 11008),
        ];
        for size in cases(&small, &large) {
            check((kernel, multiply, shape), size, size.1 % 2 == 1);
        }
    }
    let kernel = (
        &gemm::GEMM_SKINNY_16_F16,
        gemm::gemm_skinny_16_f16 as Product<f16, Global<f16>>,
        gemm::SHAPES[1],
    );
    check(kernel, (11, 40, 136), true);
}

#[test]
fn skinny_products_apply_the_gate() {
    let kernels = by_rows! { Gated<bf16, Global<bf16>>:
        GEMM_SKINNY_GATED_8_BF16, gemm_skinny_gated_8_bf16, gemm::SHAPES[0], false;
        GEMM_SKINNY_GATED_16_BF16, gemm_skinny_gated_16_bf16, gemm::SHAPES[1], false;
        GEMM_SKINNY_GATED_32_BF16, gemm_skinny_gated_32_bf16, gemm::SHAPES[2], false;
        GEMM_SKINNY_GATED_64_BF16, gemm_skinny_gated_64_bf16, gemm::SHAPES[3], false;
        GEMM_STREAMED_GATED_BF16, gemm_streamed_gated_bf16, gemm::STREAMED_JOINT, true;
    };
    for (kernel, multiply, shape, _) in kernels {
        let rows = shape.rows as usize;
        for size in cases(&[(rows, 40, 64), (1, 27, 1304)], &[(rows, 11008, 4096)]) {
            check_gated((kernel, multiply, shape), size);
        }
    }
    let kernel = (
        &gemm::GEMM_SKINNY_GATED_8_F16,
        gemm::gemm_skinny_gated_8_f16 as Gated<f16, Global<f16>>,
        gemm::SHAPES[0],
    );
    check_gated(kernel, (3, 10, 72));
}

#[test]
fn boxed_products_add_bias_and_residual() {
    if !has_wgmma() {
        return;
    }
    let kernel = (
        &gemm::GEMM_BOXED_BF16,
        gemm::gemm_boxed_bf16 as Product<bf16, TensorMap>,
        gemm::BOXED,
    );
    // More stages than a ring has; one row, part of a box of columns and of `k`.
    let small = [(16, 64, 1544), (1, 21, 2584), (13, 9, 8)];
    let large = [(16, 4096, 4096), (8, 12288, 4096), (16, 4097, 11008)];
    for size in cases(&small, &large) {
        check(kernel, size, size.1 % 2 == 1);
    }
    let half: Product<f16, TensorMap> = gemm::gemm_boxed_f16;
    check(
        (&gemm::GEMM_BOXED_F16, half, gemm::BOXED),
        (11, 40, 136),
        true,
    );
}

#[test]
fn boxed_products_apply_the_gate() {
    if !has_wgmma() {
        return;
    }
    let kernel = (
        &gemm::GEMM_BOXED_GATED_BF16,
        gemm::gemm_boxed_gated_bf16 as Gated<bf16, TensorMap>,
        gemm::BOXED,
    );
    for size in cases(&[(16, 32, 64), (1, 27, 1304)], &[(16, 11008, 4096)]) {
        check_gated(kernel, size);
    }
    let half: Gated<f16, TensorMap> = gemm::gemm_boxed_gated_f16;
    check_gated(
        (&gemm::GEMM_BOXED_GATED_F16, half, gemm::BOXED),
        (3, 10, 72),
    );
}
