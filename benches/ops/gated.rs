//! The gate of the feed-forward layer and its two products, as one kernel.

use cuda_std::Kernel;
use gpu_kernels::gemm_skinny::{self, SkinnyShape};
use gpu_kernels::gemm_wgmma;
use half::bf16;
use kcache::driver::{DeviceBuffer, Launch, Result, TensorMap};

use crate::device::{Bench, of_each_form, sets, wrong};

/// A kernel that can compute a gate, and its launch.
struct Candidate {
    kernel: &'static Kernel,
    blocks: u32,
    threads: u32,
    shared_bytes: u32,
    /// Rows of the boxes of `x`, where the kernel takes a map of it.
    x_rows: Option<u32>,
    /// Rows of the boxes of weights, where the kernel takes maps of them.
    box_rows: Option<u32>,
}

/// Kernel and microseconds of `silu(x · gateᵀ) · (x · upᵀ)`.
pub fn measure(bench: &mut Bench, size: [usize; 3]) -> Result<Vec<(String, f64)>> {
    let times = candidates(bench, size).into_iter().map(|candidate| {
        let us = measure_one(bench, &candidate, size)?;
        Ok((candidate.kernel.name.to_owned(), us))
    });
    times.collect()
}

fn candidates(bench: &Bench, [m, n, k]: [usize; 3]) -> Vec<Candidate> {
    let [rows_8, rows_16, rows_32, rows_64] = gemm_skinny::SHAPES;
    let mut kernels = vec![
        (rows_8, &gemm_skinny::GEMM_SKINNY_GATED_8_BF16),
        (rows_16, &gemm_skinny::GEMM_SKINNY_GATED_16_BF16),
        (rows_32, &gemm_skinny::GEMM_SKINNY_GATED_32_BF16),
        (rows_64, &gemm_skinny::GEMM_SKINNY_GATED_64_BF16),
    ];
    if bench.has_wgmma() {
        let streamed = &gemm_skinny::GEMM_STREAMED_GATED_BF16;
        kernels.push((gemm_skinny::STREAMED_JOINT, streamed));
        kernels.push((gemm_skinny::BOXED, &gemm_skinny::GEMM_BOXED_GATED_BF16));
        kernels.push((gemm_skinny::KEPT, &gemm_skinny::GEMM_KEPT_GATED_BF16));
    }
    let skinny = |(shape, kernel): (SkinnyShape, _)| {
        let shape = shape.gated();
        let parts = (n as u32).div_ceil(shape.columns);
        Candidate {
            kernel,
            blocks: shape.blocks(parts, bench.multiprocessors()),
            threads: shape.threads,
            shared_bytes: shape.shared_bytes,
            x_rows: None,
            box_rows: shape.box_rows,
        }
    };
    let kernels = of_each_form(kernels, [m, k]).into_iter();
    let mut list: Vec<Candidate> = kernels.map(skinny).collect();
    if bench.has_wgmma() {
        let tile = gemm_wgmma::GATED;
        list.push(Candidate {
            kernel: &gemm_wgmma::GEMM_WGMMA_GATED_BF16,
            blocks: tile.blocks([m as u32, n as u32], bench.multiprocessors()),
            threads: gemm_wgmma::THREADS,
            shared_bytes: tile.shared_bytes,
            x_rows: Some(tile.rows),
            box_rows: Some(tile.columns),
        });
    }
    list
}

fn measure_one(bench: &mut Bench, candidate: &Candidate, [m, n, k]: [usize; 3]) -> Result<f64> {
    let kernel = candidate.kernel;
    let function = bench.function(kernel)?;
    let [x_host, gate_host, up_host] = [m * k, n * k, n * k].map(|count| bench.random(count));
    let x = bench.upload("x", &x_host)?;
    let weights: Vec<[DeviceBuffer<bf16>; 2]> = (0..sets(4 * n * k))
        .map(|_| {
            Ok([
                bench.upload("gate", &gate_host)?,
                bench.upload("up", &up_host)?,
            ])
        })
        .collect::<Result<_>>()?;
    let mut out = bench.allocate::<bf16>("out", m * n)?;
    let target = out.as_mut_slice();
    let sizes = [m, n, k].map(|size| size as u32);
    let grid = [candidate.blocks, 1, 1];
    let x_map = TensorMap::new(x.as_slice(), [m, k], candidate.x_rows.unwrap_or(1))?;
    let map = |w: &DeviceBuffer<bf16>| {
        let rows = candidate.box_rows.unwrap_or(1);
        TensorMap::new(w.as_slice(), [n, k], rows)
    };
    let maps = weights
        .iter()
        .map(|[gate, up]| Ok([map(gate)?, map(up)?]))
        .collect::<Result<Vec<_>>>()?;
    let queue = |set: usize| {
        let set = set % weights.len();
        let launch = Launch::new(&function, grid, [candidate.threads, 1, 1])
            .shared_bytes(candidate.shared_bytes)
            .buffer_mut(&target);
        let launch = match candidate.x_rows {
            Some(_) => launch.value(&x_map),
            None => launch.buffer(x.as_slice()),
        };
        let launch = match candidate.box_rows {
            Some(_) => launch.value(&maps[set][0]).value(&maps[set][1]),
            None => launch
                .buffer(weights[set][0].as_slice())
                .buffer(weights[set][1].as_slice()),
        };
        let launch = launch.value(&sizes[0]).value(&sizes[1]).value(&sizes[2]);
        // SAFETY: the operands have these sizes.
        unsafe { launch.run(&bench.stream) }
    };
    queue(0)?;
    let mut values = vec![bf16::ZERO; m * n];
    let written = target.as_slice();
    written.copy_to_host(&mut values, &bench.stream)?;
    bench.stream.synchronize()?;
    for (row, column) in [(0, 0), (m - 1, n - 1), (m / 2, n / 3)] {
        let dot = |w: &[bf16]| -> f64 {
            let pairs = x_host[row * k..][..k].iter().zip(&w[column * k..][..k]);
            pairs.map(|(x, w)| x.to_f64() * w.to_f64()).sum()
        };
        let (gate, up) = (dot(&gate_host), dot(&up_host));
        let (want, got) = (gate / (1.0 + (-gate).exp()) * up, values[row * n + column]);
        if (got.to_f64() - want).abs() > 0.01 * want.abs() + 0.01 {
            let what = format!("{} at {row}, {column}", kernel.name);
            return Err(wrong(&what, got.to_f64(), want));
        }
    }
    bench.median_us(weights.len().max(8), queue)
}
