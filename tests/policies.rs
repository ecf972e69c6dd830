//! The KV policies against the dense baseline, and the engine's promises about
//! the state of a sequence, on small random checkpoints.

#![cfg(test)]

mod common;

use std::sync::Arc;

use common::{context, fixture, never, worst};
use kcache::backend::cpu::Cpu;
use kcache::cache::{GroupScore, KvPolicy, Selection, Weighting};
use kcache::engine::{CancelFlag, Context, ContextOptions, Model, Sequence, Step};
use kcache::{Error, Result};

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

#[test]
fn a_batch_gives_what_each_sequence_gives_alone() {
    let model = fixture(LLAMA);
    for policy in [KvPolicy::full(), sparse(Selection::TopN { n: 16 })] {
        let mut context = context(&model, policy.clone());
        let mut sequences: Vec<_> = [50, 1, 131]
            .map(|n| {
                let mut sequence = context.sequence().unwrap();
                context
                    .prefill(&mut sequence, &tokens(n), &never())
                    .unwrap();
                sequence
            })
            .into();
        let mut steps: Vec<Step<'_, Cpu>> = (9..)
            .zip(&mut sequences)
            .map(|(token, sequence)| Step { sequence, token })
            .collect();
        let logits = context.decode(&mut steps).unwrap();
        let rows = logits.chunks_exact(model.config().vocab_size);
        for ((row, n), token) in rows.zip([50, 1, 131]).zip(9..) {
            let mut text = tokens(n);
            text.push(token);
            let alone = run(&model, policy.clone(), &text, n);
            assert_same(&[row.to_vec()], &alone, 1e-5);
        }
    }
}

#[test]
fn a_truncated_sequence_goes_on_like_a_fresh_one() {
    let model = fixture(LLAMA);
    let text = tokens(260);
    for policy in [KvPolicy::full(), sparse(Selection::TopN { n: 16 })] {
        let fresh = run(&model, policy.clone(), &text, 130);
        let mut context = context(&model, policy);
        let mut sequence = context.sequence().unwrap();
        context
            .prefill(&mut sequence, &tokens(200), &never())
            .unwrap();
        for token in 20..40 {
            decode(&mut context, &mut sequence, token).unwrap();
        }
        sequence.truncate(130);
        assert_eq!(sequence.tokens(), &text[..130]);
        let again: Vec<_> = text[130..]
            .iter()
            .map(|&token| decode(&mut context, &mut sequence, token).unwrap())
            .collect();
        assert_same(&again, &fresh, 1e-5);
    }
}

#[test]
fn refused_calls_leave_the_sequence_as_it_was() {
    let model = fixture(LLAMA);
    let options = ContextOptions {
        n_ctx: Some(64),
        ..ContextOptions::default()
    };
    let mut context = Context::new(model.clone(), &options).unwrap();
    let mut sequence = context.sequence().unwrap();
    let too_long = context.prefill(&mut sequence, &tokens(65), &never());
    assert!(matches!(
        too_long,
        Err(Error::ContextFull {
            used: 0,
            new: 65,
            n_ctx: 64
        })
    ));
    assert!(context.prefill(&mut sequence, &[], &never()).is_err());
    let bad = model.config().vocab_size as u32;
    let error = context
        .prefill(&mut sequence, &[1, bad], &never())
        .unwrap_err();
    assert!(error.to_string().contains(&bad.to_string()));
    assert!(sequence.is_empty());
    context
        .prefill(&mut sequence, &tokens(64), &never())
        .unwrap();
    assert!(matches!(
        decode(&mut context, &mut sequence, 1),
        Err(Error::ContextFull { .. })
    ));
    assert_eq!(sequence.tokens(), tokens(64));
}

#[test]
fn options_out_of_range_are_refused() {
    let model = fixture(LLAMA);
    let refused = |options: ContextOptions| Context::new(model.clone(), &options).is_err();
    let with_ctx = |n| ContextOptions {
        n_ctx: Some(n),
        ..ContextOptions::default()
    };
    assert!(refused(with_ctx(0)));
    assert!(refused(with_ctx(model.config().max_position + 1)));
    assert!(refused(ContextOptions {
        chunk: Some(0),
        ..ContextOptions::default()
    }));
    assert!(refused(ContextOptions {
        policy: sparse(Selection::TopN { n: 0 }),
        ..ContextOptions::default()
    }));
    assert!(Cpu::new(Some(0)).is_err());
}

#[test]
fn a_cancelled_prefill_keeps_finished_chunks_and_can_go_on() {
    let model = fixture(LLAMA);
    let text = tokens(100);
    let options = ContextOptions {
        chunk: Some(10),
        ..ContextOptions::default()
    };
    let mut context = Context::new(model.clone(), &options).unwrap();
    let mut sequence = context.sequence().unwrap();
    let flag = CancelFlag::default();
    let mut chunks = 0;
    let result = context.prefill_all_logits(&mut sequence, &text, &flag, |_| {
        chunks += 1;
        if chunks == 3 {
            flag.cancel();
        }
    });
    assert!(matches!(result, Err(Error::Cancelled)));
    assert_eq!(sequence.tokens(), &text[..30]);
    flag.reset();
    let logits = context.prefill(&mut sequence, &text[30..], &flag).unwrap();
    let whole = run(&model, KvPolicy::full(), &text, 99);
    assert_same(&[logits], &whole, 1e-5);
}

#[test]
fn a_sequence_of_another_model_is_refused_before_any_work() {
    let (one, other) = (fixture(LLAMA), fixture("qwen2-f32"));
    let mut theirs = context(&other, KvPolicy::full());
    let mut sequence = context(&one, KvPolicy::full()).sequence().unwrap();
    for error in [
        theirs.prefill(&mut sequence, &tokens(4), &never()).err(),
        decode(&mut theirs, &mut sequence, 1).err(),
    ] {
        let text = error.expect("refused").to_string();
        assert!(text.contains("another model"), "{text}");
    }
    assert!(sequence.is_empty());
}

#[test]
fn a_kept_prefix_leaves_one_token_to_compute() {
    let model = fixture(LLAMA);
    let mut context = context(&model, KvPolicy::full());
    let mut sequence = context.sequence().unwrap();
    let text = tokens(9);
    for (next, kept) in [
        (text.clone(), 8),
        (text[..5].to_vec(), 4),
        (vec![text[0], 250, text[2]], 1),
        (vec![250], 0),
        (Vec::new(), 0),
    ] {
        sequence.truncate(0);
        context.prefill(&mut sequence, &text, &never()).unwrap();
        assert_eq!(sequence.keep_prefix(&next), kept, "{next:?}");
        assert_eq!(sequence.tokens(), &text[..kept]);
    }
}
