//! Prefill attention.

use cuda_std::{Float16, Global, GlobalMut, Kernel, bf16, f16};
use gpu_kernels::{prefill_attention as prefill, prefill_attention_wgmma as by_warpgroups};
use rayon::prelude::*;

use crate::device::{Gpu, LaunchConfig, has_wgmma};
use crate::support::{Cache, Random, cases, compare, dot, softmax, wide};

type Attention<T> = fn(GlobalMut<T>, Global<T>, Global<u64>, Global<u64>, u32, u32, u32, u32, f32);

/// Weights and outputs are rounded to 16 bits, eight of them significant in `bf16`.
const LIMIT: f64 = 2e-5;

/// Rows of Q for a block, its threads, and its dynamic shared memory by size of head.
type Shape = (u32, u32, fn(u32) -> u32);

const BY_WARPS: Shape = (prefill::Q_ROWS, prefill::THREADS, prefill::shared_bytes);
const BY_WARPGROUPS: Shape = (
    by_warpgroups::Q_ROWS,
    by_warpgroups::THREADS,
    by_warpgroups::shared_bytes,
);

/// `rows` new positions after `first` others; heads as `(query, kv, dim)`.
fn check<T: Float16 + Sync>(
    (kernel, attention): (&Kernel, Attention<T>),
    (q_rows, threads, shared_bytes): Shape,
    (rows, first): (usize, usize),
    (q_heads, kv_heads, dim): (usize, usize, usize),
) {
    let length = first + rows;
    let mut random = Random::new((rows * 1000 + first * 7 + dim) as u64);
    let mut gpu = Gpu::new();
    // Large queries make sharp softmaxes, where the running maximum matters.
    let q: Vec<T> = random
        .floats(rows * q_heads * dim)
        .iter()
        .map(|x| T::from_f32(x * 4.0))
        .collect();
    let k = Cache::<T>::random(&mut gpu, &mut random, &[length], kv_heads, dim);
    let v = Cache::<T>::random(&mut gpu, &mut random, &[length], kv_heads, dim);
    let out = gpu.allocate::<T>("out", rows * q_heads * dim);
    let (target, q_buffer) = (out.global_mut(), gpu.upload("q", &q).global());
    let (k_blocks, v_blocks) = (k.table.global(), v.table.global());
    let scale = (dim as f32).sqrt().recip();
    let grid = [(rows as u32).div_ceil(q_rows), q_heads as u32, 1];
    let config = LaunchConfig::new(grid, threads)
        .dynamic_shared(shared_bytes(dim as u32))
        .seed(rows as u64);
    gpu.launch(kernel, config, move || {
        let (rows, first) = (rows as u32, first as u32);
        attention(
            target,
            q_buffer,
            k_blocks,
            v_blocks,
            rows,
            first,
            q_heads as u32,
            kv_heads as u32,
            scale,
        );
    })
    .unwrap();
    let q = wide(&q);
    let attend = |i: usize| {
        let (row, head) = (i / q_heads, i % q_heads);
        let kv_head = head / (q_heads / kv_heads);
        let scores: Vec<f64> = (0..=first + row)
            .map(|p| dot(&q[i * dim..][..dim], k.row(0, p, kv_head)) * f64::from(scale))
            .collect();
        let mut sum = vec![0.0; dim];
        for (position, weight) in softmax(&scores).into_iter().enumerate() {
            let row = v.row(0, position, kv_head);
            sum.iter_mut()
                .zip(row)
                .for_each(|(sum, v)| *sum += weight * v);
        }
        sum
    };
    let queries = (0..rows * q_heads).into_par_iter();
    let want: Vec<f64> = queries.flat_map_iter(attend).collect();
    let what = format!("{} of {rows} rows after {first}", kernel.name);
    compare(&what, &wide(&gpu.download(out)), &want, dim, LIMIT);
}

#[test]
fn prefill_attends_causally() {
    let kernel = (
        &prefill::PREFILL_ATTENTION_64_BF16,
        prefill::prefill_attention_64_bf16 as _,
    );
    let small = [
        ((1, 0), (1, 1, 64)),
        ((64, 0), (3, 1, 64)),
        ((130, 0), (2, 2, 64)),
        ((5, 70), (4, 2, 64)),
    ];
    let large = [
        ((2000, 0), (9, 3, 64)),
        ((513, 1500), (5, 1, 64)),
        ((70, 3001), (7, 1, 64)),
        ((1, 100_000), (6, 1, 64)),
    ];
    for (rows, heads) in cases(&small, &large) {
        check::<bf16>(kernel, BY_WARPS, rows, heads);
    }
}

#[test]
fn prefill_attends_with_every_head_size() {
    type Entry = (&'static Kernel, Attention<bf16>);
    let kernels: [(usize, Entry); 3] = [
        (
            96,
            (
                &prefill::PREFILL_ATTENTION_96_BF16,
                prefill::prefill_attention_96_bf16,
            ),
        ),
        (
            128,
            (
                &prefill::PREFILL_ATTENTION_128_BF16,
                prefill::prefill_attention_128_bf16,
            ),
        ),
        (
            256,
            (
                &prefill::PREFILL_ATTENTION_256_BF16,
                prefill::prefill_attention_256_bf16,
            ),
        ),
    ];
    for (dim, kernel) in kernels {
        for rows in cases(&[(67, 13)], &[(700, 300), (65, 4000)]) {
            check(kernel, BY_WARPS, rows, (2, 1, dim));
        }
    }
    let kernel = (
        &prefill::PREFILL_ATTENTION_64_F16,
        prefill::prefill_attention_64_f16 as _,
    );
    check::<f16>(kernel, BY_WARPS, (33, 64), (8, 1, 64));
}

#[test]
fn warpgroups_attend_causally() {
    if !has_wgmma() {
        return;
    }
    let kernel = (
        &by_warpgroups::PREFILL_ATTENTION_WGMMA_64_BF16,
        by_warpgroups::prefill_attention_wgmma_64_bf16 as _,
    );
    // One row; a row of each warpgroup; more positions than the ring holds; a second block.
    let small = [
        ((1, 0), (1, 1, 64)),
        ((65, 0), (2, 1, 64)),
        ((40, 350), (4, 2, 64)),
        ((130, 66), (1, 1, 64)),
    ];
    let large = [
        ((2000, 0), (9, 3, 64)),
        ((513, 1500), (5, 1, 64)),
        ((1, 100_000), (6, 1, 64)),
    ];
    for (rows, heads) in cases(&small, &large) {
        check::<bf16>(kernel, BY_WARPGROUPS, rows, heads);
    }
}

#[test]
fn warpgroups_attend_with_every_head_size() {
    if !has_wgmma() {
        return;
    }
    type Entry = (&'static Kernel, Attention<bf16>);
    let kernels: [(usize, Entry); 2] = [
        (
            128,
            (
                &by_warpgroups::PREFILL_ATTENTION_WGMMA_128_BF16,
                by_warpgroups::prefill_attention_wgmma_128_bf16,
            ),
        ),
        (
            256,
            (
                &by_warpgroups::PREFILL_ATTENTION_WGMMA_256_BF16,
                by_warpgroups::prefill_attention_wgmma_256_bf16,
            ),
        ),
    ];
    for (dim, kernel) in kernels {
        for rows in cases(&[(67, 140)], &[(700, 300), (65, 4000)]) {
            check(kernel, BY_WARPGROUPS, rows, (2, 1, dim));
        }
    }
    let kernel = (
        &by_warpgroups::PREFILL_ATTENTION_WGMMA_64_F16,
        by_warpgroups::prefill_attention_wgmma_64_f16 as _,
    );
    check::<f16>(kernel, BY_WARPGROUPS, (33, 64), (8, 1, 64));
}
