//! Decode attention: scores, selection, sum and combination in one chain.

use cuda_std::emulation::{Gpu, LaunchConfig};
use cuda_std::{Float16, Global, GlobalMut, Kernel, bf16, f16};
use gpu_kernels::v_combine::Weighting;
use gpu_kernels::{decode_scores, select_rows, v_combine, v_sum};

use crate::support::{Cache, Random, compare, dot, null, softmax, wide, wide_f32};

type Scores<T> =
    fn(GlobalMut<f32>, GlobalMut<f32>, Global<T>, Global<u64>, Global<u32>, u32, u32, u32, f32);
type Sum = fn(
    GlobalMut<f32>,
    GlobalMut<f32>,
    Global<u32>,
    Global<u32>,
    Global<f32>,
    Global<f32>,
    Global<u64>,
    u32,
    u32,
    u32,
    u32,
);
type Combine<T> = fn(GlobalMut<T>, Global<f32>, Global<f32>, Global<f32>, u32, u32, u32, u32);

/// The kernels of one element type and head size.
#[derive(Clone, Copy)]
struct Kernels<T: 'static> {
    scores: (&'static Kernel, Scores<T>),
    sum: (&'static Kernel, Sum),
    combine: (&'static Kernel, Combine<T>),
}

macro_rules! kernels {
    ($scores:ident, $SCORES:ident, $sum:ident, $SUM:ident, $combine:ident, $COMBINE:ident) => {
        Kernels {
            scores: (&decode_scores::$SCORES, decode_scores::$scores),
            sum: (&v_sum::$SUM, v_sum::$sum),
            combine: (&v_combine::$COMBINE, v_combine::$combine),
        }
    };
}

/// Heads, and the lengths of the sequences.
#[derive(Clone, Copy)]
struct Shape<'a> {
    q_heads: usize,
    kv_heads: usize,
    dim: usize,
    lengths: &'a [usize],
}

/// What is selected, and how the rest counts. Without `top` every row is.
#[derive(Clone, Copy)]
struct Policy {
    top: Option<usize>,
    weighting: Weighting,
    /// Parts of the sum over V.
    splits: usize,
}

const SINKS: usize = 2;
const WINDOW: usize = 5;

/// Runs a decode step and compares scores and output.
fn check<T: Float16>(kernels: Kernels<T>, shape: Shape<'_>, policy: Policy, seed: u64) {
    let Shape {
        q_heads,
        kv_heads,
        dim,
        lengths,
    } = shape;
    let mut random = Random::new(seed);
    let mut gpu = Gpu::new();
    let sequences = lengths.len();
    let q: Vec<T> = (0..sequences * q_heads * dim)
        .map(|_| T::from_f32(random.float() * 4.0))
        .collect();
    let k = Cache::<T>::random(&mut gpu, &mut random, lengths, kv_heads, dim);
    let v = Cache::<T>::random(&mut gpu, &mut random, lengths, kv_heads, dim);
    let means = random.floats(sequences * kv_heads * dim);
    let longest = lengths.iter().copied().max().unwrap();
    let stride = longest.next_multiple_of(2);
    let splits = longest.div_ceil(decode_scores::POSITIONS as usize);
    let scale = (dim as f32).sqrt().recip();

    let scores = gpu.allocate::<f32>("scores", sequences * q_heads * stride);
    let partials = gpu.allocate::<f32>("partials", sequences * q_heads * splits * 2);
    let lengths_u32: Vec<u32> = lengths.iter().map(|&l| l as u32).collect();
    let length_buffer = gpu.upload("lengths", &lengths_u32).global();
    let (s, p) = (scores.global_mut(), partials.global_mut());
    let (q_buffer, k_table) = (gpu.upload("q", &q).global(), k.table.global());
    let (kernel, compute) = kernels.scores;
    let grid = [splits as u32, kv_heads as u32, sequences as u32];
    let config = LaunchConfig::new(grid, decode_scores::THREADS).seed(seed);
    let table_stride = k.table_stride as u32;
    gpu.launch(kernel, config, move || {
        compute(
            s,
            p,
            q_buffer,
            k_table,
            length_buffer,
            q_heads as u32,
            stride as u32,
            table_stride,
            scale,
        );
    })
    .unwrap();

    let room = SINKS + WINDOW + policy.top.unwrap_or(0);
    let rows = gpu.allocate::<u32>("rows", sequences * kv_heads * room);
    let counts = gpu.allocate::<u32>("counts", sequences * kv_heads);
    let stats = gpu.allocate::<f32>("stats", sequences * q_heads * 2);
    let mass = gpu
        .allocate::<f32>("mass", sequences * kv_heads * stride)
        .global_mut();
    let (r, c, t) = (rows.global_mut(), counts.global_mut(), stats.global_mut());
    let config = LaunchConfig::new([kv_heads as u32, sequences as u32, 1], select_rows::THREADS);
    gpu.launch(&select_rows::SELECT_ROWS, config, move || {
        select_rows::select_rows(
            r,
            c,
            t,
            mass,
            s.as_const(),
            p.as_const(),
            length_buffer,
            q_heads as u32,
            stride as u32,
            room as u32,
            splits as u32,
            SINKS as u32,
            policy.top.unwrap_or(0) as u32,
            WINDOW as u32,
        );
    })
    .unwrap();

    let per_head: Vec<u32> = lengths_u32
        .iter()
        .flat_map(|&l| vec![l; kv_heads])
        .collect();
    let (list, list_counts) = match policy.top {
        Some(_) => (r.as_const(), c.as_const()),
        None => (null(), gpu.upload("all rows", &per_head).global()),
    };
    let parts = gpu
        .allocate::<f32>("sums", sequences * q_heads * policy.splits * dim)
        .global_mut();
    let kept = gpu
        .allocate::<f32>("kept", sequences * q_heads * policy.splits)
        .global_mut();
    let v_table = v.table.global();
    let (kernel, sum) = kernels.sum;
    let grid = [policy.splits as u32, kv_heads as u32, sequences as u32];
    let config = LaunchConfig::new(grid, v_sum::THREADS)
        .dynamic_shared(v_sum::shared_bytes(dim as u32))
        .seed(seed);
    gpu.launch(kernel, config, move || {
        sum(
            parts,
            kept,
            list,
            list_counts,
            s.as_const(),
            t.as_const(),
            v_table,
            q_heads as u32,
            stride as u32,
            room as u32,
            table_stride,
        );
    })
    .unwrap();

    let out = gpu.allocate::<T>("out", sequences * q_heads * dim);
    let (target, mean_buffer) = (out.global_mut(), gpu.upload("means", &means).global());
    let (kernel, combine) = kernels.combine;
    let config = LaunchConfig::new([q_heads as u32, sequences as u32, 1], v_combine::THREADS);
    gpu.launch(kernel, config, move || {
        combine(
            target,
            parts.as_const(),
            kept.as_const(),
            mean_buffer,
            kv_heads as u32,
            dim as u32,
            policy.splits as u32,
            policy.weighting as u32,
        );
    })
    .unwrap();

    let (scores, out) = (gpu.download(scores), wide(&gpu.download(out)));
    let (rows, counts) = (gpu.download(rows), gpu.download(counts));
    let (q, means) = (wide(&q), wide_f32(&means));
    for (sequence, &length) in lengths.iter().enumerate() {
        for head in 0..q_heads {
            let row = sequence * q_heads + head;
            let kv_head = head / (q_heads / kv_heads);
            let pair = sequence * kv_heads + kv_head;
            let q = &q[row * dim..][..dim];
            let want: Vec<f64> = (0..length)
                .map(|i| dot(q, k.row(sequence, i, kv_head)) * f64::from(scale))
                .collect();
            let got = wide_f32(&scores[row * stride..][..length]);
            compare("scores", &got, &want, length, 1e-11);

            let selected: Vec<usize> = match policy.top {
                Some(_) => rows[pair * room..][..counts[pair] as usize]
                    .iter()
                    .map(|&i| i as usize)
                    .collect(),
                None => (0..length).collect(),
            };
            let probabilities = softmax(&want);
            let kept: f64 = selected.iter().map(|&i| probabilities[i]).sum();
            let mut sum = vec![0.0; dim];
            for &i in &selected {
                let v = v.row(sequence, i, kv_head);
                sum.iter_mut()
                    .zip(v)
                    .for_each(|(sum, v)| *sum += probabilities[i] * v);
            }
            for (sum, mean) in sum.iter_mut().zip(&means[pair * dim..]) {
                match policy.weighting {
                    Weighting::Raw => {}
                    Weighting::Renormalised => *sum /= kept,
                    Weighting::MeanFilled => *sum += (1.0 - kept) * mean,
                }
            }
            compare("output", &out[row * dim..][..dim], &sum, dim, 1e-5);
        }
    }
}

#[test]
fn decode_with_selected_rows() {
    let kernels: Kernels<bf16> = kernels!(
        decode_scores_64_bf16,
        DECODE_SCORES_64_BF16,
        v_sum_64_bf16,
        V_SUM_64_BF16,
        v_combine_bf16,
        V_COMBINE_BF16
    );
    let shape = Shape {
        q_heads: 6,
        kv_heads: 2,
        dim: 64,
        lengths: &[1, 300, 64],
    };
    for (seed, weighting) in [
        (30, Weighting::Raw),
        (31, Weighting::Renormalised),
        (32, Weighting::MeanFilled),
    ] {
        check(
            kernels,
            shape,
            Policy {
                top: Some(70),
                weighting,
                splits: 2,
            },
            seed,
        );
    }
}

#[test]
fn decode_with_all_rows_is_dense_attention() {
    let kernels: Kernels<bf16> = kernels!(
        decode_scores_128_bf16,
        DECODE_SCORES_128_BF16,
        v_sum_128_bf16,
        V_SUM_128_BF16,
        v_combine_bf16,
        V_COMBINE_BF16
    );
    let shape = Shape {
        q_heads: 8,
        kv_heads: 1,
        dim: 128,
        lengths: &[257, 63],
    };
    let dense = Policy {
        top: None,
        weighting: Weighting::Raw,
        splits: 3,
    };
    check(kernels, shape, dense, 33);
    // As many rows as there are positions: the same by the other way.
    check(
        kernels,
        shape,
        Policy {
            top: Some(260),
            ..dense
        },
        33,
    );
}

#[test]
fn decode_with_every_head_size() {
    let kernels: Kernels<bf16> = kernels!(
        decode_scores_96_bf16,
        DECODE_SCORES_96_BF16,
        v_sum_96_bf16,
        V_SUM_96_BF16,
        v_combine_bf16,
        V_COMBINE_BF16
    );
    let policy = Policy {
        top: Some(9),
        weighting: Weighting::Renormalised,
        splits: 1,
    };
    let shape = Shape {
        q_heads: 3,
        kv_heads: 3,
        dim: 96,
        lengths: &[67],
    };
    check(kernels, shape, policy, 34);
    let kernels: Kernels<bf16> = kernels!(
        decode_scores_256_bf16,
        DECODE_SCORES_256_BF16,
        v_sum_256_bf16,
        V_SUM_256_BF16,
        v_combine_bf16,
        V_COMBINE_BF16
    );
    check(
        kernels,
        Shape {
            q_heads: 5,
            kv_heads: 1,
            dim: 256,
            lengths: &[130],
        },
        policy,
        35,
    );
    let kernels: Kernels<f16> = kernels!(
        decode_scores_64_f16,
        DECODE_SCORES_64_F16,
        v_sum_64_f16,
        V_SUM_64_F16,
        v_combine_f16,
        V_COMBINE_F16
    );
    check(
        kernels,
        Shape {
            q_heads: 7,
            kv_heads: 1,
            dim: 64,
            lengths: &[100, 40],
        },
        policy,
        36,
    );
}
