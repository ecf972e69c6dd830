//! Dense decode attention in one launch.

use cuda_std::{Float16, Global, GlobalMut, Kernel, bf16, f16};
use gpu_kernels::decode_attention as attention;

use crate::decode_step::Shape;
use crate::device::{Gpu, LaunchConfig, large};
use crate::support::{Cache, Random, compare, dot, softmax, wide};

type Attend<T> = fn(
    GlobalMut<T>,
    GlobalMut<f32>,
    GlobalMut<f32>,
    GlobalMut<u32>,
    Global<T>,
    Global<u64>,
    Global<u64>,
    Global<u32>,
    u32,
    u32,
    u32,
    f32,
    u32,
);

/// The squared error of rounding the output to 16 bits.
const LIMIT: f64 = 1e-5;

/// Attends twice, since a launch leaves the counters to the next, with V said to be near and far, and
/// compares.
fn check<T: Float16>(
    (kernel, attend): (&Kernel, Attend<T>),
    shape: Shape<'_>,
    splits: usize,
    seed: u64,
) {
    let Shape {
        q_heads,
        kv_heads,
        dim,
        lengths,
    } = shape;
    let (mut random, mut gpu) = (Random::new(seed), Gpu::new());
    let queries = lengths.len() * q_heads;
    // Large queries make sharp softmaxes.
    let q: Vec<T> = random
        .floats(queries * dim)
        .iter()
        .map(|x| T::from_f32(x * 4.0))
        .collect();
    let k = Cache::<T>::random(&mut gpu, &mut random, lengths, kv_heads, dim);
    let v = Cache::<T>::random(&mut gpu, &mut random, lengths, kv_heads, dim);
    let lengths_u32: Vec<u32> = lengths.iter().map(|&l| l as u32).collect();
    let group = (q_heads / kv_heads) as u32;
    let grid_heads = kv_heads as u32 * attention::group_parts(group);
    let arrivals = vec![0u32; lengths.len() * grid_heads as usize];
    let (q_buffer, lengths_buffer) = (
        gpu.upload("q", &q).global(),
        gpu.upload("lengths", &lengths_u32).global(),
    );
    let partials = gpu.allocate::<f32>("partials", queries * splits * dim);
    let stats = gpu.allocate::<f32>("stats", queries * splits * 2);
    let arrivals = gpu.upload("arrivals", &arrivals);
    let scale = (dim as f32).sqrt().recip();
    let (tables, stride) = ((k.table.global(), v.table.global()), k.table_stride as u32);
    for (launch, v_is_far) in [(0, 0), (1, 1)] {
        let out = gpu.allocate::<T>("out", queries * dim);
        let grid = [splits as u32, grid_heads, lengths.len() as u32];
        let config = LaunchConfig::new(grid, attention::THREADS)
            .dynamic_shared(attention::shared_bytes(dim as u32, group))
            .seed(seed + launch);
        let (target, arrivals) = (out.global_mut(), arrivals.global_mut());
        let (partials, stats) = (partials.global_mut(), stats.global_mut());
        let heads = (q_heads as u32, kv_heads as u32);
        gpu.launch(kernel, config, move || {
            attend(
                target,
                partials,
                stats,
                arrivals,
                q_buffer,
                tables.0,
                tables.1,
                lengths_buffer,
                heads.0,
                heads.1,
                stride,
                scale,
                v_is_far,
            );
        })
        .unwrap();
        let out = wide(&gpu.download(out));
        for row in 0..queries {
            let (sequence, kv_head) = (row / q_heads, row % q_heads / group as usize);
            let query = &wide(&q[row * dim..][..dim]);
            let scores: Vec<f64> = (0..lengths[sequence])
                .map(|i| dot(query, k.row(sequence, i, kv_head)) * f64::from(scale))
                .collect();
            let mut want = vec![0.0; dim];
            for (i, p) in softmax(&scores).into_iter().enumerate() {
                let values = v.row(sequence, i, kv_head);
                want.iter_mut()
                    .zip(values)
                    .for_each(|(sum, x)| *sum += p * x);
            }
            compare(kernel.name, &out[row * dim..][..dim], &want, dim, LIMIT);
        }
    }
}

macro_rules! kernel {
    ($name:ident, $NAME:ident) => {
        (&attention::$NAME, attention::$name as Attend<_>)
    };
}

#[test]
fn dense_decode_attention_of_every_head_size() {
    let shape = |q_heads, kv_heads, dim, lengths| Shape {
        q_heads,
        kv_heads,
        dim,
        lengths,
    };
    // One head to a KV head, fewer than a block takes at once, and more; parts without positions.
    let bf16_64: (&Kernel, Attend<bf16>) =
        kernel!(decode_attention_64_bf16, DECODE_ATTENTION_64_BF16);
    check(bf16_64, shape(6, 2, 64, &[1, 300, 64]), 3, 70);
    check(bf16_64, shape(2, 2, 64, &[129]), 1, 71);
    let bf16_96: (&Kernel, Attend<bf16>) =
        kernel!(decode_attention_96_bf16, DECODE_ATTENTION_96_BF16);
    check(bf16_96, shape(5, 1, 96, &[17, 190]), 2, 72);
    let bf16_128: (&Kernel, Attend<bf16>) =
        kernel!(decode_attention_128_bf16, DECODE_ATTENTION_128_BF16);
    check(bf16_128, shape(2, 2, 128, &[200, 65]), 4, 73);
    check(bf16_128, shape(8, 1, 128, &[257, 63]), 2, 74);
    let f16_256: (&Kernel, Attend<f16>) =
        kernel!(decode_attention_256_f16, DECODE_ATTENTION_256_F16);
    check(f16_256, shape(3, 1, 256, &[70]), 2, 75);
    if large() {
        check(bf16_128, shape(32, 32, 128, &[4096, 513]), 16, 76);
        check(bf16_128, shape(32, 8, 128, &[16_384, 1]), 64, 77);
    }
}
