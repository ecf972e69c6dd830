//! Whole models: prefill, decode under every policy, batches, forgetting.

use std::sync::Arc;
use std::time::Duration;

use kcache_models::config::ModelConfig;
use kcache_models::weights::WeightSizes;

use super::checkpoint::{ALONE, GROUPED, Shape};
use super::{HOPPER, Pair, assert_close, device_with_newest_kernels};
use crate::Error;
use crate::backend::Backend;
use crate::cache::{KvPolicy, Selection, Weighting};
use crate::engine::{CancelFlag, Context, ContextOptions, Model, Sequence, Step};

/// What rounding activations, K and V to bf16 may cost.
const ROUNDED: f64 = 5e-4;

/// Positions that make two blocks of the cache, and products of many rows.
const PROMPT: usize = 70;

fn prompt() -> Vec<u32> {
    (0..PROMPT as u32).map(|i| (i * 37 + 11) % 300).collect()
}

fn context<B: Backend>(model: &Arc<Model<B>>, policy: &KvPolicy) -> Context<B> {
    chunked(model, policy, None)
}

fn chunked<B: Backend>(
    model: &Arc<Model<B>>,
    policy: &KvPolicy,
    chunk: Option<usize>,
) -> Context<B> {
    let options = ContextOptions {
        n_ctx: Some(200),
        policy: policy.clone(),
        chunk,
        ..ContextOptions::default()
    };
    Context::new(model.clone(), &options).unwrap_or_else(|e| panic!("{e}"))
}

fn prefill<B: Backend>(context: &mut Context<B>, tokens: &[u32]) -> (Sequence<B>, Vec<f32>) {
    let mut sequence = context.sequence().unwrap_or_else(|e| panic!("{e}"));
    let mut logits = Vec::new();
    context
        .prefill_all_logits(&mut sequence, tokens, &CancelFlag::default(), |l| {
            logits.extend(l);
        })
        .unwrap_or_else(|e| panic!("{e}"));
    (sequence, logits)
}

fn decode<B: Backend>(
    context: &mut Context<B>,
    sequence: &mut Sequence<B>,
    tokens: &[u32],
) -> Vec<f32> {
    let step = |&token| {
        let sequence = &mut *sequence;
        context.decode(&mut [Step { sequence, token }])
    };
    let logits: crate::Result<Vec<Vec<f32>>> = tokens.iter().map(step).collect();
    logits.unwrap_or_else(|e| panic!("{e}")).concat()
}

/// All logits of the prompt, and of `next` decoded one by one.
pub(super) fn run<B: Backend>(
    model: &Arc<Model<B>>,
    policy: &KvPolicy,
    next: &[u32],
) -> (Vec<f32>, Vec<f32>) {
    let mut context = context(model, policy);
    let (mut sequence, prefilled) = prefill(&mut context, &prompt());
    (prefilled, decode(&mut context, &mut sequence, next))
}

fn check(shape: &Shape, seed: u64, policies: &[(&str, KvPolicy)], limit: f64) {
    compare(&Pair::new(shape, seed), policies, limit);
}

fn compare(pair: &Pair, policies: &[(&str, KvPolicy)], limit: f64) {
    let width = pair.cpu.config().vocab_size;
    let next = [5, 250];
    for (name, policy) in policies {
        let (prefilled, decoded) = run(&pair.gpu, policy, &next);
        let (expected, expected_next) = run(&pair.cpu, policy, &next);
        assert_close(
            &format!("{name}, prefill"),
            &prefilled,
            &expected,
            width,
            ROUNDED,
        );
        assert_close(
            &format!("{name}, decode"),
            &decoded,
            &expected_next,
            width,
            limit,
        );
    }
}

pub(super) fn top_n(n: usize, weighting: Weighting) -> KvPolicy {
    KvPolicy {
        selection: Selection::TopN { n },
        sinks: 2,
        window: 4,
        dense_layers: 1,
        weighting,
        ..KvPolicy::kcache()
    }
}

#[test]
fn dense_attention_equals_the_processors() {
    let policies = [
        ("full", KvPolicy::full()),
        ("full, offloaded", KvPolicy::full_offload()),
    ];
    check(&GROUPED, 1, &policies, ROUNDED);
    check(&ALONE, 2, &policies[..1], ROUNDED);
}

#[test]
fn the_newest_kernels_equal_the_processors() {
    for ordinal in [0, HOPPER] {
        let pair = Pair::on(device_with_newest_kernels(ordinal), &GROUPED, 4);
        compare(&pair, &[("full", KvPolicy::full())], ROUNDED);
        // A row at the edge of the selection may be another.
        let rows = ("rows", top_n(16, Weighting::MeanV));
        compare(&pair, &[rows], 10.0 * ROUNDED);
    }
}

#[test]
fn selected_rows_are_those_of_the_processor() {
    let top_p = KvPolicy {
        selection: Selection::TopP { p: 0.8, n_max: 40 },
        ..top_n(1, Weighting::Renormalised)
    };
    let policies = [
        ("top-n, raw", top_n(16, Weighting::Raw)),
        ("top-n, mean of V", top_n(16, Weighting::MeanV)),
        ("top-p", top_p),
    ];
    // A row at the edge of the selection may be another.
    check(&GROUPED, 3, &policies, 10.0 * ROUNDED);
}

/// The third step of its kind is a graph; a block later it is another.
#[test]
fn steps_that_are_replayed_equal_the_processors() {
    let pair = Pair::new(&ALONE, 9);
    let width = pair.cpu.config().vocab_size;
    let next: Vec<u32> = (0..6).map(|i| 40 * i + 3).collect();
    for (name, policy) in [
        ("full", KvPolicy::full()),
        ("top-n", top_n(8, Weighting::MeanV)),
    ] {
        let (_, got) = run(&pair.gpu, &policy, &next);
        let (_, expected) = run(&pair.cpu, &policy, &next);
        assert_close(name, &got, &expected, width, 10.0 * ROUNDED);
    }
}

/// V goes to the host while a prompt is read, and comes back for the next chunk.
#[test]
fn chunks_of_a_prompt_find_the_rows_before_them() {
    let pair = Pair::new(&GROUPED, 8);
    let width = pair.gpu.config().vocab_size;
    let policy = KvPolicy::full_offload();
    let (expected, expected_next) = run(&pair.gpu, &policy, &[11]);
    for chunk in [16, 30, 64] {
        let mut context = chunked(&pair.gpu, &policy, Some(chunk));
        let (mut sequence, logits) = prefill(&mut context, &prompt());
        let what = format!("chunks of {chunk}");
        assert_close(&what, &logits, &expected, width, 1e-4);
        let next = decode(&mut context, &mut sequence, &[11]);
        assert_close(&what, &next, &expected_next, width, 1e-4);
    }
}

/// Wherever in a chunk the cancel comes.
#[test]
fn a_cancelled_prompt_goes_on_where_it_stopped() {
    let pair = Pair::new(&GROUPED, 5);
    let policy = top_n(16, Weighting::MeanV);
    let tokens = prompt();
    let mut context = chunked(&pair.gpu, &policy, Some(32));
    let (_, whole) = prefill(&mut context, &tokens);
    let last = &whole[whole.len() - pair.gpu.config().vocab_size..];
    for milliseconds in [0, 1, 2, 4, 8, 16, 32, 64] {
        let mut sequence = context.sequence().unwrap_or_else(|e| panic!("{e}"));
        let cancel = CancelFlag::default();
        let done = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(milliseconds));
                cancel.cancel();
            });
            context.prefill(&mut sequence, &tokens, &cancel)
        });
        let held = sequence.len();
        println!("cancelled after {milliseconds} ms: {held} tokens stay");
        let logits = match done {
            Ok(logits) => logits,
            Err(Error::Cancelled) => context
                .prefill(&mut sequence, &tokens[held..], &CancelFlag::default())
                .unwrap_or_else(|e| panic!("{e}")),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(sequence.tokens(), tokens);
        assert_close("after a cancel", &logits, last, last.len(), 1e-12);
    }
}

#[test]
fn selecting_every_row_is_dense_attention() {
    let pair = Pair::new(&GROUPED, 4);
    let width = pair.gpu.config().vocab_size;
    let (_, dense) = run(&pair.gpu, &KvPolicy::full(), &[7, 8]);
    for weighting in [Weighting::Raw, Weighting::Renormalised, Weighting::MeanV] {
        let (_, all) = run(&pair.gpu, &top_n(1000, weighting), &[7, 8]);
        assert_close(&format!("{weighting:?}"), &all, &dense, width, 1e-5);
    }
}

#[test]
fn a_batch_gives_what_its_sequences_give_alone() {
    let pair = Pair::new(&GROUPED, 5);
    let policy = top_n(8, Weighting::MeanV);
    let mut context = context(&pair.gpu, &policy);
    let prompts = [prompt(), prompt()[..9].to_vec()];
    let alone = prompts.each_ref().map(|prompt| {
        let (mut sequence, _) = prefill(&mut context, prompt);
        decode(&mut context, &mut sequence, &[42])
    });
    let mut sequences = prompts
        .each_ref()
        .map(|prompt| prefill(&mut context, prompt).0);
    let mut steps: Vec<_> = sequences
        .iter_mut()
        .map(|sequence| Step {
            sequence,
            token: 42,
        })
        .collect();
    let batch = context.decode(&mut steps).unwrap_or_else(|e| panic!("{e}"));
    let width = pair.gpu.config().vocab_size;
    assert_close("batch", &batch, &alone.concat(), width, 1e-5);
}

#[test]
fn forgotten_positions_leave_no_trace() {
    let pair = Pair::new(&GROUPED, 6);
    let mut context = context(&pair.gpu, &top_n(8, Weighting::MeanV));
    let (mut sequence, _) = prefill(&mut context, &prompt());
    sequence.truncate(20);
    let got = decode(&mut context, &mut sequence, &[9, 10]);
    let (mut fresh, _) = prefill(&mut context, &prompt()[..20]);
    let expected = decode(&mut context, &mut fresh, &[9, 10]);
    let width = pair.gpu.config().vocab_size;
    // The total of V is summed anew from rows that were rounded.
    assert_close("after truncate", &got, &expected, width, 1e-4);
}

#[test]
fn counters_tell_what_was_read() {
    let pair = Pair::new(&GROUPED, 7);
    let mut context = context(&pair.gpu, &top_n(8, Weighting::Raw));
    let (mut sequence, _) = prefill(&mut context, &prompt());
    decode(&mut context, &mut sequence, &[3]);
    let counters = sequence.counters();
    // One of two layers selects, for 2 KV heads: 2 sinks, 4 newest and 8 more.
    assert_eq!((counters.sets, counters.rows_needed), (2, 16));
    assert_eq!((counters.rows_hit, counters.rows_fetched), (0, 16));
    assert_eq!(counters.bytes_fetched, 2 * 8 * 64 * 2);
    assert_eq!(counters.bytes_pushed, (PROMPT as u64 + 1) * 128 * 2);
    decode(&mut context, &mut sequence, &[3]);
    let counters = sequence.counters();
    assert_eq!(counters.rows_needed, 32);
    assert!(counters.rows_hit > 0, "{counters:?}");
    assert_eq!(counters.rows_hit + counters.rows_fetched, 32);
}

/// V stays beside K while it fits, and moves to the host when it does not.
#[test]
fn the_policy_follows_the_memory() {
    let gpu = Pair::new(&GROUPED, 11).gpu;
    let weights = WeightSizes::default();
    let config = |positions| ModelConfig {
        n_layers: 32,
        max_position: positions,
        ..gpu.config().clone()
    };
    let backend = gpu.backend();
    let memory = backend
        .memory(&config(1024), &weights, false)
        .expect("sizes");
    let available = memory.available.expect("the device tells") as usize;
    let row = 2 * 32 * gpu.config().kv_dim();
    let both = [KvPolicy::full(), KvPolicy::kcache()];
    // K and V of the context would take a half of what there is, and one and a half times that.
    for (positions, expected) in [
        (available / (4 * row), &both[0]),
        (available / 4 * 3 / row, &both[1]),
    ] {
        let options = ContextOptions::default();
        let config = config(positions);
        let chosen = options.fit_policy(both.to_vec(), backend, &config, &weights);
        let (options, plan) = chosen.unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((&options.policy, plan.n_ctx), (expected, positions));
    }
    let none = ContextOptions::default().fit_policy(Vec::new(), backend, &config(9), &weights);
    assert!(none.is_err());
}
