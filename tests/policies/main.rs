//! The KV policies against the dense baseline, on small random checkpoints.

#![cfg(test)]

#[path = "../common/mod.rs"]
mod common;
mod sequences;

use std::sync::Arc;

use common::{context, fixture, never, worst};
use kcache::Result;
use kcache::backend::cpu::Cpu;
use kcache::cache::{GroupScore, KvPolicy, Selection, Weighting};
use kcache::engine::{Context, ContextOptions, Model, Sequence, Step};

const LLAMA: &str = "llama-gqa-llama3-rope";

/// Ids that no pattern repeats, inside every fixture's vocabulary.
fn tokens(n: usize) -> Vec<u32> {
    (0..n as u32)
        .map(|i| (i * i * 31 + i * 7 + 5) % 251)
        .collect()
}

fn decode(
    context: &mut Context<Cpu>,
    sequence: &mut Sequence<Cpu>,
    token: u32,
) -> Result<Vec<f32>> {
    context.decode(&mut [Step { sequence, token }])
}

/// Logits after each of `text[prefill..]`, teacher-forced through decode steps.
fn run(model: &Arc<Model<Cpu>>, policy: KvPolicy, text: &[u32], prefill: usize) -> Vec<Vec<f32>> {
    let mut context = context(model, policy);
    let mut sequence = context.sequence().unwrap();
    context
        .prefill(&mut sequence, &text[..prefill], &never())
        .unwrap();
    text[prefill..]
        .iter()
        .map(|&token| decode(&mut context, &mut sequence, token).unwrap())
        .collect()
}

fn assert_same(a: &[Vec<f32>], b: &[Vec<f32>], limit: f32) {
    for (step, (a, b)) in a.iter().zip(b).enumerate() {
        assert!(worst(a, b) < limit, "step {step}: {}", worst(a, b));
    }
}

fn sparse(selection: Selection) -> KvPolicy {
    KvPolicy {
        selection,
        sinks: 2,
        window: 8,
        dense_layers: 1,
        hot_rows: 32,
        ..KvPolicy::kcache()
    }
}

#[test]
fn policies_that_keep_every_row_equal_full() {
    let model = fixture(LLAMA);
    let text = tokens(220);
    let full = run(&model, KvPolicy::full(), &text, 150);
    let mut policies = vec![KvPolicy::full_offload()];
    for weighting in [Weighting::Raw, Weighting::Renormalised, Weighting::MeanV] {
        for group_score in [GroupScore::Sum, GroupScore::Max] {
            for (hot_rows, dense_layers) in [(0, 0), (1, 1), (37, 0), (4096, 0)] {
                policies.push(KvPolicy {
                    weighting,
                    group_score,
                    hot_rows,
                    dense_layers,
                    ..sparse(Selection::TopN { n: 100_000 })
                });
            }
        }
        policies.push(KvPolicy {
            weighting,
            ..sparse(Selection::TopP {
                p: 1.0,
                n_max: usize::MAX,
            })
        });
    }
    for policy in policies {
        println!("{policy:?}");
        assert_same(&run(&model, policy, &text, 150), &full, 1e-5);
    }
}

#[test]
fn hot_rows_change_nothing_but_the_counts() {
    let model = fixture(LLAMA);
    let text = tokens(300);
    let policy = |hot_rows| KvPolicy {
        hot_rows,
        ..sparse(Selection::TopN { n: 16 })
    };
    let none = run(&model, policy(0), &text, 200);
    for hot_rows in [1, 15, 16, 40, 10_000] {
        assert_eq!(run(&model, policy(hot_rows), &text, 200), none);
    }
}

#[test]
fn counters_tell_what_happened() {
    let model = fixture(LLAMA);
    let config = model.config();
    let text = tokens(240);
    let mut context = context(&model, sparse(Selection::TopN { n: 16 }));
    let mut sequence = context.sequence().unwrap();
    context
        .prefill(&mut sequence, &text[..200], &never())
        .unwrap();
    for &token in &text[200..] {
        decode(&mut context, &mut sequence, token).unwrap();
    }
    let counters = sequence.counters();
    let sparse_heads = ((config.n_layers - 1) * config.n_kv_heads) as u64;
    let row = 4 * config.head_dim as u64;
    assert_eq!(counters.sets, 40 * sparse_heads);
    assert_eq!(counters.rows_needed, 16 * counters.sets);
    assert_eq!(
        counters.rows_hit + counters.rows_fetched,
        counters.rows_needed
    );
    assert!(counters.rows_hit > 0 && counters.rows_fetched >= 16 * sparse_heads);
    assert_eq!(counters.bytes_fetched, row * counters.rows_fetched);
    assert_eq!(counters.bytes_pushed, 240 * row * sparse_heads);
    assert_eq!(counters.mean_set(), Some(26.0));
    assert_eq!(counters.p99_set(), Some(26));
}

#[test]
fn full_offload_fetches_every_row_each_step() {
    let model = fixture(LLAMA);
    let config = model.config();
    let mut context = context(&model, KvPolicy::full_offload());
    let mut sequence = context.sequence().unwrap();
    context
        .prefill(&mut sequence, &tokens(99), &never())
        .unwrap();
    decode(&mut context, &mut sequence, 7).unwrap();
    let heads = (config.n_layers * config.n_kv_heads) as u64;
    assert_eq!(sequence.counters().rows_fetched, 100 * heads);
}

#[test]
fn a_smaller_set_costs_accuracy_and_a_larger_one_less() {
    let model = fixture(LLAMA);
    let text = tokens(300);
    let full = run(&model, KvPolicy::full(), &text, 260);
    let error = |n| {
        let steps = run(&model, sparse(Selection::TopN { n }), &text, 260);
        steps
            .iter()
            .zip(&full)
            .map(|(a, b)| worst(a, b))
            .sum::<f32>()
    };
    let (few, many) = (error(2), error(128));
    assert!(few > 2.0 * many && many > 0.0, "{few} {many}");
}

#[test]
fn chunks_and_steps_give_the_same_logits() {
    let model = fixture(LLAMA);
    let text = tokens(200);
    let whole = run(&model, KvPolicy::full(), &text, 199);
    assert_same(
        &run(&model, KvPolicy::full(), &text, 1)[198..],
        &whole,
        1e-5,
    );
    for chunk in [1, 7, 64, 65] {
        let options = ContextOptions {
            chunk: Some(chunk),
            ..ContextOptions::default()
        };
        let mut context = Context::new(model.clone(), &options).unwrap();
        let mut sequence = context.sequence().unwrap();
        let logits = context.prefill(&mut sequence, &text, &never()).unwrap();
        assert_same(&[logits], &whole, 1e-5);
    }
}
