//! The arithmetic of `benches/ops`: what operations cost, and how their times are told.

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../benches/ops/report.rs"]
mod report;
#[path = "../benches/ops/tuning.rs"]
mod tuning;
#[path = "../benches/ops/work.rs"]
mod work;

use std::collections::HashSet;

use kcache::backend::cuda::{PrefillKernel, ProductKernel, ProductRule, Tuning};
use report::{Measurement, Peer, Roof, TABLE_HEAD};
use work::{Case, Work, cases};

const ROOF: Roof = Roof {
    bytes_per_s: 4e12,
    flops_per_s: 8e14,
};

fn measured(work: Work, us: f64) -> Measurement {
    let name = "a model's part".to_owned();
    Measurement {
        case: Case { name, work },
        kernel: "kernel".to_owned(),
        us,
    }
}

#[test]
fn work_is_counted_by_hand() {
    let (m, n, k) = (2, 3, 5);
    let product = Work::Product { m, n, k };
    assert_eq!(
        (product.flops(), product.bytes()),
        (60.0, 2.0 * (10.0 + 15.0) + 24.0)
    );
    let gated = Work::GatedProduct { m, n, k };
    assert_eq!(
        (gated.flops(), gated.bytes()),
        (120.0, 2.0 * (10.0 + 30.0) + 12.0)
    );
    // Two rows see one and two positions: three scores and three sums of four products a head.
    let attention = Work::Attention {
        rows: 2,
        q_heads: 6,
        kv_heads: 3,
        dim: 4,
    };
    assert_eq!(attention.flops(), 6.0 * 3.0 * 2.0 * 4.0 * 2.0);
    // Q and the output of six heads, K and V of three.
    assert_eq!(attention.bytes(), 2.0 * 2.0 * 4.0 * (6.0 + 6.0 + 3.0 + 3.0));
    let (rows, width) = (2, 10);
    assert_eq!(Work::Add { rows, width }.bytes(), 240.0);
    assert_eq!(Work::Swiglu { rows, width }.bytes(), 200.0);
    assert_eq!(Work::RmsNorm { rows, width }.bytes(), 160.0);
    let joint = Work::JointProduct {
        m: 2,
        n: 8,
        n_kv: 4,
        k: 16,
    };
    assert_eq!(joint.id(), "joint_product 2x8x4x16");
    assert_eq!(joint.flops(), 2.0 * f64::from(2 * (8 + 4 + 4) * 16));
    // Operands of 16 bits, results of 32.
    assert_eq!(joint.bytes(), f64::from(2 * (2 + 16) * 16 + 4 * 2 * 16));
}

#[test]
fn one_row_is_bound_by_memory_and_many_by_arithmetic() {
    let product = |m| Work::Product {
        m,
        n: 4096,
        k: 4096,
    };
    let least = |work: Work| work.least_us(ROOF.bytes_per_s, ROOF.flops_per_s);
    let one = product(1);
    assert_eq!(least(one), one.bytes() / 4e12 * 1e6);
    let many = product(8192);
    assert_eq!(least(many), many.flops() / 8e14 * 1e6);
}

#[test]
fn measurements_stand_beside_roof_and_peer() {
    let work = Work::Product {
        m: 1,
        n: 1000,
        k: 1000,
    };
    let peer = Peer::read("{\"id\": \"product 1x1000x1000\", \"us\": 1.5}\nnoise\n{\"id\": 3}\n");
    let measurement = measured(work, 2.0);
    assert_eq!(measurement.bytes_per_s(), 1_003_000.0 * 1e6);
    assert_eq!(measurement.flops_per_s(), 1e12);
    assert_eq!(measurement.of_peer(&peer), Some(0.75));
    let json = measurement.to_json(&ROOF, &peer);
    assert_eq!(json["of_roof"], 0.251);
    assert_eq!(json["of_peer"], 0.75);
    assert_eq!(json["gb_per_s"], 1003.0);
    let row = measurement.to_row(&ROOF, &peer);
    assert!(row.ends_with("| 2.0 | 1003 | 1 | 25% | 0.75 |"), "{row}");
    let columns = |line: &str| line.matches('|').count();
    assert!(
        TABLE_HEAD
            .lines()
            .all(|line| columns(line) == columns(&row))
    );
    let alone = measurement.to_row(&ROOF, &Peer::default());
    assert!(alone.ends_with("| 25% |  |"), "{alone}");
}

#[test]
fn the_roof_is_the_peers_fastest_product() {
    let cases: Vec<Case> = [2, 4]
        .map(|m| measured(Work::Product { m, n: 10, k: 10 }, 1.0).case)
        .into();
    let peer = Peer::read(
        "{\"id\": \"product 2x10x10\", \"us\": 1}\n{\"id\": \"product 4x10x10\", \"us\": 4}",
    );
    assert_eq!(peer.flops_per_s(&cases), Some(400.0 * 1e6));
    assert_eq!(Peer::default().flops_per_s(&cases), None);
}

#[test]
fn every_model_has_every_operation() {
    let cases = cases();
    for model in ["llama2-7b", "llama3-8b", "smollm2-135m"] {
        let of_model = cases.iter().filter(|case| case.name.starts_with(model));
        let works: Vec<Work> = of_model.map(|case| case.work).collect();
        let ops: HashSet<String> = works
            .iter()
            .map(|work| work.to_json()["op"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(ops.len(), 7, "{model}: {ops:?}");
        assert!(works.iter().all(|work| work.bytes() > 0.0));
    }
    let down = Work::Product {
        m: 8192,
        n: 4096,
        k: 11_008,
    };
    assert!(cases.iter().any(|case| case.work == down));
}

#[test]
fn the_table_of_kernels_follows_from_times() {
    let lines = r#"
        {"id": "product 1x64x32", "kernel": "gemv_1_bf16", "us": 2}
        {"id": "product 1x64x32", "kernel": "gemm_skinny_8_bf16", "us": 1}
        {"id": "product 1x128x32", "kernel": "gemv_1_bf16", "us": 2}
        {"id": "product 1x128x32", "kernel": "gemm_skinny_8_bf16", "us": 3}
        {"id": "product 8x64x32", "kernel": "gemm_skinny_8_bf16", "us": 3}
        {"id": "product 8x64x32", "kernel": "gemm_streamed_bf16", "us": 2}
        {"id": "product 9x64x32", "kernel": "gemm_wgmma_128_bf16", "us": 3}
        {"id": "attention 9x1x1x64", "kernel": "prefill_attention_64_bf16", "us": 3}
        {"id": "attention 9x1x1x64", "kernel": "prefill_attention_wgmma_64_bf16", "us": 2}
        {"id": "rms_norm 9x64", "kernel": "rmsnorm_bf16", "us": 3}
    "#;
    let before = Tuning::embedded().unwrap();
    let table = tuning::updated(before.clone(), "sm_90a", lines).unwrap();
    let choices = table.of("sm_90a").unwrap();
    let rule = |rows, size: Option<[usize; 2]>, kernel| ProductRule {
        rows,
        columns: size.map(|size| size[0]),
        depth: size.map(|size| size[1]),
        kernel,
    };
    assert_eq!(
        choices.product,
        [
            rule(Some(1), Some([128, 32]), ProductKernel::Gemv),
            rule(Some(1), None, ProductKernel::GemmSkinny),
            rule(Some(8), None, ProductKernel::GemmStreamed),
            rule(None, None, ProductKernel::GemmWgmma128),
        ]
    );
    assert_eq!(choices.prefill_attention, PrefillKernel::Warpgroups);
    assert_eq!(table.of("sm_80").unwrap(), before.of("sm_80").unwrap());
    // What was not measured stays.
    let unmeasured = tuning::updated(table.clone(), "sm_90a", "").unwrap();
    assert_eq!(unmeasured, table);
    assert_eq!(
        Tuning::parse(&tuning::to_text(&table), "text").unwrap(),
        table
    );
    assert!(tuning::updated(table, "sm_75", lines).is_err());
}

#[test]
fn the_embedded_table_is_written_as_the_bench_writes_it() {
    let embedded = Tuning::embedded().unwrap();
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/runtime/backend/cuda/tuning.json"
    );
    assert_eq!(
        tuning::to_text(&embedded),
        std::fs::read_to_string(path).unwrap()
    );
}
