//! Kernels that treat each row or element by itself.

use cuda_std::{Float16, Global, GlobalMut, Kernel, bf16};
use gpu_kernels::{embedding, rmsnorm, sampling, swiglu, v_total};

use crate::device::{Gpu, LaunchConfig};
use crate::support::{Random, cases, compare, wide, wide_f32};

/// The squared error that one rounding to a 16-bit type may leave.
const ROUNDED: f64 = 1e-5;

#[test]
fn embedding_copies_rows() {
    let mut random = Random::new(1);
    for (rows, width) in cases(&[(1, 8), (7, 576), (3, 1032)], &[(2048, 4096), (1, 8192)]) {
        let mut gpu = Gpu::new();
        let table: Vec<bf16> = random.halves(11 * width);
        let ids: Vec<u32> = (0..rows).map(|_| random.below(11)).collect();
        let out = gpu.allocate::<f32>("out", rows * width);
        let (target, source) = (out.global_mut(), gpu.upload("table", &table).global());
        let id_buffer = gpu.upload("ids", &ids).global();
        let config = LaunchConfig::new([rows as u32, 1, 1], embedding::THREADS);
        gpu.launch(&embedding::EMBED_BF16, config, move || {
            embedding::embed_bf16(target, source, id_buffer, width as u32);
        })
        .unwrap();
        let want: Vec<f32> = ids
            .iter()
            .flat_map(|&id| {
                table[id as usize * width..][..width]
                    .iter()
                    .map(|x| x.to_f32())
            })
            .collect();
        assert_eq!(gpu.download(out), want);
    }
}

type RmsNorm<T> = fn(GlobalMut<T>, Global<f32>, Global<f32>, u32, f32);

fn normalised(x: &[f64], weight: &[f64], eps: f64) -> Vec<f64> {
    let width = weight.len();
    let row = |row: &[f64]| {
        let scale = (row.iter().map(|x| x * x).sum::<f64>() / width as f64 + eps)
            .sqrt()
            .recip();
        row.iter()
            .zip(weight)
            .map(|(x, w)| x * scale * w)
            .collect::<Vec<_>>()
    };
    x.chunks(width).flat_map(row).collect()
}

fn check_rmsnorm<T: Float16>(seed: u64, (kernel, plain): (&Kernel, RmsNorm<T>)) {
    let mut random = Random::new(seed);
    let small = [(1, 8, 1e-5f32), (5, 576, 1e-6), (2, 4104, 1e-5)];
    for (rows, width, eps) in cases(&small, &[(2048, 4096, 1e-5), (3, 16_384, 1e-6)]) {
        let mut gpu = Gpu::new();
        let x = random.floats(rows * width);
        let weight = random.floats(width);
        let config = LaunchConfig::new([rows as u32, 1, 1], rmsnorm::THREADS);
        let out = gpu.allocate::<T>("out", rows * width);
        let (target, source) = (out.global_mut(), gpu.upload("x", &x).global());
        let weights = gpu.upload("weight", &weight).global();
        gpu.launch(kernel, config, move || {
            plain(target, source, weights, width as u32, eps)
        })
        .unwrap();
        let want = normalised(&wide_f32(&x), &wide_f32(&weight), f64::from(eps));
        compare("rmsnorm", &wide(&gpu.download(out)), &want, width, ROUNDED);
    }
}

#[test]
fn rmsnorm_normalises_rows() {
    check_rmsnorm(2, (&rmsnorm::RMSNORM_BF16, rmsnorm::rmsnorm_bf16));
    check_rmsnorm(3, (&rmsnorm::RMSNORM_F16, rmsnorm::rmsnorm_f16));
}

#[test]
fn rmsnorm_keeps_nan_in_its_row() {
    let mut gpu = Gpu::new();
    let mut x = Random::new(4).floats(2 * 16);
    x[3] = f32::NAN;
    let out = gpu.allocate::<bf16>("out", 2 * 16);
    let (target, source) = (out.global_mut(), gpu.upload("x", &x).global());
    let weights = gpu.upload("weight", &[1.0f32; 16]).global();
    gpu.launch(
        &rmsnorm::RMSNORM_BF16,
        LaunchConfig::new([2, 1, 1], rmsnorm::THREADS),
        move || {
            rmsnorm::rmsnorm_bf16(target, source, weights, 16, 1e-5);
        },
    )
    .unwrap();
    let want = normalised(&wide_f32(&x), &[1.0; 16], 1e-5);
    compare("rmsnorm", &wide(&gpu.download(out)), &want, 16, ROUNDED);
}

#[test]
fn swiglu_gates() {
    let mut random = Random::new(5);
    for (rows, width) in cases(&[(1, 8), (3, 1536), (2, 1544)], &[(2048, 11_008)]) {
        let mut gpu = Gpu::new();
        // Both halves in one matrix, with values that saturate the gate.
        let both: Vec<f32> = random
            .floats(rows * 2 * width)
            .iter()
            .map(|x| x * 30.0)
            .collect();
        let buffer = gpu.upload("gate and up", &both).global();
        let out = gpu.allocate::<bf16>("out", rows * width);
        let target = out.global_mut();
        let blocks = (width as u32 / 4).div_ceil(swiglu::THREADS);
        let config = LaunchConfig::new([blocks, rows as u32, 1], swiglu::THREADS);
        gpu.launch(&swiglu::SWIGLU_BF16, config, move || {
            let up = buffer.offset(width);
            swiglu::swiglu_bf16(target, buffer, up, width as u32, 2 * width as u32);
        })
        .unwrap();
        let want: Vec<f64> = wide_f32(&both)
            .chunks(2 * width)
            .flat_map(|row| {
                let (gate, up) = row.split_at(width);
                let gated = gate.iter().zip(up).map(|(g, u)| g / (1.0 + (-g).exp()) * u);
                gated.collect::<Vec<_>>()
            })
            .collect();
        compare("swiglu", &wide(&gpu.download(out)), &want, width, ROUNDED);
    }
}

#[test]
fn softmax_sums_to_one() {
    let mut random = Random::new(6);
    let small = [(1, 1, 1.0f32), (3, 1000, 0.5), (2, 5001, 2.0)];
    for (rows, width, scale) in cases(&small, &[(8, 128_256, 1.0)]) {
        let mut gpu = Gpu::new();
        let mut logits: Vec<f32> = random
            .floats(rows * width)
            .iter()
            .map(|x| x * 20.0)
            .collect();
        if width > 1 {
            logits[width / 2] = f32::NEG_INFINITY;
        }
        let out = gpu.allocate::<f32>("out", rows * width);
        let (target, source) = (out.global_mut(), gpu.upload("logits", &logits).global());
        let config = LaunchConfig::new([rows as u32, 1, 1], sampling::THREADS);
        gpu.launch(&sampling::SOFTMAX, config, move || {
            sampling::softmax(target, source, width as u32, scale);
        })
        .unwrap();
        let want: Vec<f64> = wide_f32(&logits)
            .chunks(width)
            .flat_map(|row| {
                let scaled: Vec<f64> = row.iter().map(|x| x * f64::from(scale)).collect();
                crate::support::softmax(&scaled)
            })
            .collect();
        compare(
            "softmax",
            &wide_f32(&gpu.download(out)),
            &want,
            width,
            1e-10,
        );
    }
}

#[test]
fn argmax_takes_the_first_largest() {
    let mut random = Random::new(7);
    for width in cases(&[3001], &[128_256]) {
        let mut logits = random.floats(4 * width);
        for (index, value) in [(17, 2.0), (1700, 2.0), (5, f32::NAN)] {
            logits[index] = value;
        }
        logits[width + width - 1] = 3.0;
        logits[2 * width..3 * width].fill(f32::NAN);
        logits[3 * width..].fill(f32::NEG_INFINITY);
        let mut gpu = Gpu::new();
        let out = gpu.allocate::<u32>("out", 4);
        let (target, source) = (out.global_mut(), gpu.upload("logits", &logits).global());
        let config = LaunchConfig::new([4, 1, 1], sampling::THREADS);
        gpu.launch(&sampling::ARGMAX, config, move || {
            sampling::argmax(target, source, width as u32);
        })
        .unwrap();
        assert_eq!(gpu.download(out), [17, width as u32 - 1, 0, 0]);
    }
}

#[test]
fn totals_grow_by_the_rows_of_their_sequence() {
    let mut random = Random::new(11);
    let (width, stride, starts) = (40, 50, [0u32, 1, 1, 20]);
    let mut gpu = Gpu::new();
    let v = random.floats(20 * stride);
    let before = random.floats(3 * width);
    let totals = gpu.upload("totals", &before);
    let addresses = [0, 1, 2].map(|s| totals.address() + s * (width * size_of::<f32>()) as u64);
    let target = gpu.upload("addresses of totals", &addresses).global();
    let rows = gpu.upload("v", &v).global();
    let starts_buffer = gpu.upload("starts", &starts).global();
    let blocks = (width as u32).div_ceil(v_total::COLUMNS);
    let config = LaunchConfig::new([blocks, 3, 1], v_total::THREADS);
    gpu.launch(&v_total::V_TOTAL, config, move || {
        v_total::v_total(target, rows, starts_buffer, width as u32, stride as u32);
    })
    .unwrap();
    let mut want = wide_f32(&before);
    for (total, limits) in want.chunks_mut(width).zip(starts.windows(2)) {
        for row in limits[0]..limits[1] {
            let row = &v[row as usize * stride..][..width];
            total
                .iter_mut()
                .zip(row)
                .for_each(|(total, &x)| *total += f64::from(x));
        }
    }
    compare(
        "totals",
        &wide_f32(&gpu.download(totals)),
        &want,
        width,
        1e-12,
    );
}
