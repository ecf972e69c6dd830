//! Decode attention: scores, selection, sum and combination in one chain.

use cuda_std::{Float16, Kernel, bf16, f16};
use gpu_kernels::v_combine::Weighting;
use gpu_kernels::{decode_scores, v_combine, v_sum};

use crate::decode_step::{Combine, Policy, Scores, Shape, Step, Sum};
use crate::device::large;

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

/// Runs a decode step and compares scores and output.
fn check<T: Float16>(kernels: Kernels<T>, shape: Shape<'_>, policy: Policy, seed: u64) {
    let mut step = Step::<T>::new(shape, policy, seed);
    step.score(kernels.scores);
    step.select();
    step.sum(kernels.sum);
    step.combine(kernels.combine);
    step.compare();
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
        (32, Weighting::MeanV),
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

/// Long sequences, and every number of query heads to a KV head.
#[test]
fn decode_over_long_sequences() {
    let kernels: Kernels<bf16> = kernels!(
        decode_scores_128_bf16,
        DECODE_SCORES_128_BF16,
        v_sum_128_bf16,
        V_SUM_128_BF16,
        v_combine_bf16,
        V_COMBINE_BF16
    );
    let long: &[usize] = if large() {
        &[100_000, 1, 4097, 33_333]
    } else {
        &[400, 1]
    };
    for group in 1..=8 {
        let shape = Shape {
            q_heads: 2 * group,
            kv_heads: 2,
            dim: 128,
            lengths: long,
        };
        let top = if group % 3 == 0 {
            None
        } else {
            Some(30 * group)
        };
        let policy = Policy {
            top,
            weighting: Weighting::Raw,
            splits: group,
        };
        check(kernels, shape, policy, 50 + group as u64);
    }
}
