//! Index arithmetic past 2³² elements, on buffers of which only a few pages are touched.

use cuda_std::bf16;
use cuda_std::emulation::{Gpu, LaunchConfig};
use gpu_kernels::{decode_scores, embedding, select_rows, swiglu, v_sum, v_total};

use crate::support::{Random, compare, dot, wide, wide_f32};

/// Rows this far apart put the fifth row past 2³² elements.
const APART: usize = 1 << 30;

#[test]
fn embedding_reads_far_rows() {
    let (width, vocabulary) = (8192, (1 << 19) + 1);
    let mut gpu = Gpu::new();
    let row: Vec<bf16> = Random::new(40).halves(width);
    let table = gpu.allocate::<bf16>("table", vocabulary * width);
    gpu.write(table, (vocabulary - 1) * width, &row);
    let out = gpu.allocate::<f32>("out", width);
    let (target, source) = (out.global_mut(), table.global());
    let ids = gpu.upload("ids", &[vocabulary as u32 - 1]).global();
    gpu.launch(
        &embedding::EMBED_BF16,
        LaunchConfig::new([1, 1, 1], embedding::THREADS),
        move || {
            embedding::embed_bf16(target, source, ids, width as u32);
        },
    )
    .unwrap();
    compare(
        "embed",
        &wide_f32(&gpu.download(out)),
        &wide(&row),
        width,
        0.0,
    );
}

#[test]
fn rows_of_activations_may_lie_far_apart() {
    let mut gpu = Gpu::new();
    let rows = Random::new(41).floats(5 * 8);
    let input = gpu.allocate::<f32>("input", 4 * APART + 8);
    for (i, row) in rows.chunks(8).enumerate() {
        gpu.write(input, i * APART, row);
    }
    let out = gpu.allocate::<bf16>("out", 5 * 8);
    let (target, source) = (out.global_mut(), input.global());
    gpu.launch(
        &swiglu::SWIGLU_BF16,
        LaunchConfig::new([1, 5, 1], swiglu::THREADS),
        move || {
            swiglu::swiglu_bf16(target, source, source, 8, APART as u32);
        },
    )
    .unwrap();
    let want: Vec<f64> = rows
        .iter()
        .map(|&x| f64::from(x))
        .map(|x| x * x / (1.0 + (-x).exp()))
        .collect();
    compare("swiglu", &wide(&gpu.download(out)), &want, 8, 1e-4);

    let totals = gpu.upload("totals", &[0.0f32; 8]);
    let target = gpu.upload("addresses", &[totals.address()]).global();
    let starts = gpu.upload("starts", &[0u32, 5]).global();
    gpu.launch(
        &v_total::V_TOTAL,
        LaunchConfig::new([1, 1, 1], v_total::THREADS),
        move || {
            v_total::v_total(target, source, starts, 8, APART as u32);
        },
    )
    .unwrap();
    let column = |d: usize| rows.chunks(8).map(|row| f64::from(row[d])).sum();
    let want: Vec<f64> = (0..8).map(column).collect();
    compare("totals", &wide_f32(&gpu.download(totals)), &want, 8, 1e-11);
}

/// Five query heads whose scores lie far apart, and one KV head.
#[test]
fn rows_of_scores_may_lie_far_apart() {
    const HEADS: u32 = 5;
    let (dim, stride, mut gpu, mut random) = (64, APART as u32, Gpu::new(), Random::new(42));
    let (q, k): (Vec<bf16>, Vec<bf16>) = (random.halves(5 * dim), random.halves(64 * dim));
    let scores = gpu.allocate::<f32>("scores", 4 * APART + 4);
    let (s, p) = (
        scores.global_mut(),
        gpu.allocate("partials", 10).global_mut(),
    );
    let (q_buffer, k_buffer) = (gpu.upload("q", &q).global(), gpu.upload("k", &k));
    let table = gpu.upload("table", &[k_buffer.address()]).global();
    let lengths = gpu.upload("lengths", &[4u32]).global();
    let config = LaunchConfig::new([1, 1, 1], decode_scores::THREADS);
    gpu.launch(&decode_scores::DECODE_SCORES_64_BF16, config, move || {
        decode_scores::decode_scores_64_bf16(s, p, q_buffer, table, lengths, HEADS, stride, 1, 1.0);
    })
    .unwrap();
    let (q, k) = (wide(&q), wide(&k));
    for head in 0..5 {
        let row = |i| dot(&q[head * dim..][..dim], &k[i * dim..][..dim]);
        let want: Vec<f64> = (0..4).map(row).collect();
        let got = gpu.read(scores, head * APART, 4);
        compare("scores", &wide_f32(&got), &want, 4, 1e-11);
    }

    let (rows, counts) = (
        gpu.allocate::<u32>("rows", 2),
        gpu.allocate::<u32>("counts", 1),
    );
    let stats = gpu.allocate::<f32>("stats", 10).global_mut();
    let mass = gpu.allocate::<f32>("mass", 4).global_mut();
    let (r, c) = (rows.global_mut(), counts.global_mut());
    let config = LaunchConfig::new([1, 1, 1], select_rows::THREADS);
    gpu.launch(&select_rows::SELECT_ROWS, config, move || {
        let (scores, partials) = (s.as_const(), p.as_const());
        select_rows::select_rows(
            r, c, stats, mass, scores, partials, lengths, HEADS, stride, 2, 1, 0, 1, 1, 0,
        );
    })
    .unwrap();
    assert_eq!(gpu.download(counts), [2]);

    let (sums, kept) = (
        gpu.allocate("sums", 5 * dim),
        gpu.allocate::<f32>("kept", 5),
    );
    let (o, w) = (sums.global_mut(), kept.global_mut());
    let config = LaunchConfig::new([1, 1, 1], v_sum::THREADS)
        .dynamic_shared(v_sum::shared_bytes(dim as u32));
    gpu.launch(&v_sum::V_SUM_64_BF16, config, move || {
        let (rows, counts, scores) = (r.as_const(), c.as_const(), s.as_const());
        v_sum::v_sum_64_bf16(
            o,
            w,
            rows,
            counts,
            scores,
            stats.as_const(),
            table,
            HEADS,
            stride,
            2,
            1,
        );
    })
    .unwrap();
    assert!(
        gpu.download(kept)
            .iter()
            .all(|&mass| mass > 0.0 && mass < 1.00001)
    );
}
