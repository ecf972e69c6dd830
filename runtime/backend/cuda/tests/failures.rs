//! Memory that runs out and devices that are lost, at every point of a text:
//! what is left of it goes on, and what ran beside it never knew.

use std::sync::Arc;

use tempfile::TempDir;

use super::checkpoint::SMALLEST;
use super::{Cuda, device, nmse};
use crate::cache::{KvPolicy, Selection, Weighting};
use crate::driver::DriverError;
use crate::engine::{CancelFlag, Context, ContextOptions, Model, Sequence, Step};
use crate::{Error, Result};

/// Two chunks of a prompt, the second of which begins within a block.
const PROMPT: usize = 62;
const CHUNK: usize = 40;

/// Decode steps, the third of which needs another block.
const STEPS: usize = 3;

/// Without sums of V nothing is rounded elsewhere after a failure; a sum that was
/// made anew is one of rounded rows.
const WEIGHTINGS: [(Weighting, f64); 2] =
    [(Weighting::Renormalised, 0.0), (Weighting::MeanV, 1e-4)];

fn model(folder: &TempDir) -> Arc<Model<Cuda>> {
    let model = Model::load(folder.path(), device(), &mut |_, _| Ok(()));
    Arc::new(model.unwrap_or_else(|e| panic!("{e}")))
}

fn context(model: &Arc<Model<Cuda>>, weighting: Weighting) -> Context<Cuda> {
    let policy = KvPolicy {
        selection: Selection::TopN { n: 8 },
        sinks: 2,
        window: 4,
        dense_layers: 1,
        hot_rows: 4,
        weighting,
        ..KvPolicy::kcache()
    };
    let options = ContextOptions {
        n_ctx: Some(128),
        policy,
        chunk: Some(CHUNK),
        ..ContextOptions::default()
    };
    Context::new(model.clone(), &options).unwrap_or_else(|e| panic!("{e}"))
}

fn prompt(len: usize) -> Vec<u32> {
    (0..len as u32).map(|i| (i * 37 + 11) % 300).collect()
}

fn greedy(logits: &[f32]) -> u32 {
    let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    best.expect("logits").0 as u32
}

/// Calls `work` until it succeeds, and looks at each failure.
fn insist<R>(mut work: impl FnMut() -> Result<R>, failed: &mut impl FnMut(Error)) -> R {
    // Nothing here fails more than once.
    for _ in 0..3 {
        match work() {
            Ok(done) => return done,
            Err(error) => failed(error),
        }
    }
    panic!("it still fails");
}

/// A text beside another that was there before: what both decode, and all logits.
struct Story {
    tokens: [Vec<u32>; 2],
    logits: Vec<Vec<f32>>,
}

/// Writes a [`Story`], insisting, after `arm` has been called.
fn write(
    model: &Arc<Model<Cuda>>,
    weighting: Weighting,
    arm: impl FnOnce(),
    mut failed: impl FnMut(Error),
) -> Story {
    let mut context = context(model, weighting);
    let cancel = CancelFlag::default();
    let mut other = context.sequence().unwrap_or_else(|e| panic!("{e}"));
    let first = context.prefill(&mut other, &prompt(9), &cancel);
    let mut next = [greedy(&first.unwrap_or_else(|e| panic!("{e}"))), 0];
    arm();

    let mut text = insist(|| context.sequence(), &mut failed);
    let prompt = prompt(PROMPT);
    let read = || {
        let done = text.len();
        let logits = context.prefill(&mut text, &prompt[done..], &cancel);
        let whole = if logits.is_ok() { PROMPT } else { text.len() };
        assert_readable(&text, &prompt[..whole]);
        logits
    };
    let mut logits = vec![insist(read, &mut failed)];
    next[1] = greedy(&logits[0]);

    let mut tokens: [Vec<u32>; 2] = [Vec::new(), Vec::new()];
    for step in 0..STEPS {
        let decode = || {
            let steps = [&mut other, &mut text].into_iter().zip(next);
            let mut steps: Vec<_> = steps
                .map(|(sequence, token)| Step { sequence, token })
                .collect();
            let logits = context.decode(&mut steps);
            let done = step + usize::from(logits.is_ok());
            assert_eq!((other.len(), text.len()), (9 + done, PROMPT + done));
            assert_readable(&text, text.tokens());
            logits
        };
        let both = insist(decode, &mut failed);
        for (i, row) in both.chunks(both.len() / 2).enumerate() {
            tokens[i].push(next[i]);
            next[i] = greedy(row);
        }
        logits.push(both);
    }
    Story { tokens, logits }
}

/// The text holds `tokens`, and says so; its figures can be read.
fn assert_readable(text: &Sequence<Cuda>, tokens: &[u32]) {
    assert_eq!(text.tokens(), tokens);
    assert_eq!(text.kv.lengths, [tokens.len(); SMALLEST.layers]);
    text.counters();
    text.kv_bytes();
}

fn assert_same(got: &Story, expected: &Story, limit: f64, what: &str) {
    assert_eq!(got.tokens, expected.tokens, "{what}");
    for (step, (got, expected)) in got.logits.iter().zip(&expected.logits).enumerate() {
        let error = nmse(got, expected);
        assert!(error <= limit, "{what}, step {step}: {error:e}");
    }
}

/// Says which memory, how much of it, and what to do.
fn assert_helps(error: &Error) {
    let (text, sizes) = match error {
        Error::Device(DriverError::OutOfMemory { bytes, free, .. }) => {
            (error.to_string(), [*bytes, *free])
        }
        Error::Device(DriverError::PinnedMemory {
            wanted, granted, ..
        }) => (error.to_string(), [*wanted, *granted]),
        other => panic!("{other}"),
    };
    for part in sizes.map(|size| size.to_string()) {
        assert!(text.contains(&part), "{part}: {text}");
    }
    assert!(text.contains("lower the context length"), "{text}");
    assert!(error.is_out_of_memory());
}

/// Fails every `stride`-th allocation of a text, one by one. What a backend keeps
/// for all texts is taken anew by each `fresh` one.
fn fail_each(fresh: bool, seed: u64, stride: usize) {
    let folder = SMALLEST.write(seed);
    let (weighting, limit) = WEIGHTINGS[usize::from(!fresh)];
    let mut used = model(&folder);
    let expected = write(&used, weighting, || {}, |e| panic!("{e}"));
    let mut pinned = 0;
    for k in (1..).step_by(stride) {
        if fresh {
            used = model(&folder);
        }
        let faults = used.backend().context.faults();
        let mut failures = 0;
        let failed = |error: Error| {
            assert_helps(&error);
            failures += 1;
            pinned += usize::from(error.to_string().contains("pin"));
        };
        let story = write(&used, weighting, || faults.arm(k as u64), failed);
        assert_same(&story, &expected, limit, &format!("allocation {k}"));
        if faults.armed() {
            println!("fewer than {k} allocations, {pinned} failures of pinned memory");
            assert!(k > 20 && failures == 0 && (stride > 1 || pinned > 0));
            break;
        }
        // More pinned memory than is needed is done without.
        assert!(failures <= 1, "{failures} failures");
    }
}

#[test]
fn allocations_of_a_text_may_fail() {
    fail_each(true, 31, 8);
}

#[test]
#[ignore = "minutes under emulation"]
fn every_allocation_of_a_first_text_may_fail() {
    fail_each(true, 31, 1);
}

#[test]
#[ignore = "minutes under emulation"]
fn every_allocation_of_a_later_text_may_fail() {
    fail_each(false, 34, 1);
}

/// The driver's own refusals: no memory, none that may be locked, no pinning at all.
#[cfg(not(feature = "gpu-tests"))]
#[test]
fn a_host_that_pins_no_memory_says_so_and_may_change_its_mind() {
    use crate::driver::refuse_pinning;

    let model = model(&SMALLEST.write(32));
    let (weighting, limit) = WEIGHTINGS[0];
    let expected = write(&model, weighting, || {}, |e| panic!("{e}"));
    for code in [2, 304, 800, 801] {
        let mut failures = 0;
        let failed = |error: Error| {
            println!("{error}");
            assert_helps(&error);
            refuse_pinning(0);
            failures += 1;
        };
        let story = write(&model, weighting, || refuse_pinning(code), failed);
        assert_eq!(failures, 1, "code {code}");
        assert_same(&story, &expected, limit, &format!("code {code}"));
    }
}

#[test]
fn a_text_can_be_read_after_its_device_was_lost() {
    let folder = SMALLEST.write(33);
    let cancel = CancelFlag::default();
    for steps in 0..3 {
        let model = model(&folder);
        let mut context = context(&model, Weighting::MeanV);
        let mut text = context.sequence().unwrap_or_else(|e| panic!("{e}"));
        context
            .prefill(&mut text, &prompt(20), &cancel)
            .unwrap_or_else(|e| panic!("{e}"));
        let mut tokens = prompt(20);
        for token in 0..steps {
            let sequence = &mut text;
            let decoded = context.decode(&mut [Step { sequence, token }]);
            decoded.unwrap_or_else(|e| panic!("{e}"));
            tokens.push(token);
        }
        model.backend().context.lose();
        let sequence = &mut text;
        let decoded = context.decode(&mut [Step { sequence, token: 5 }]);
        let read = context.prefill(&mut text, &[5], &cancel);
        for error in [decoded, read, context.sequence().map(|_| Vec::new())] {
            let error = error.expect_err("the device is lost");
            assert!(error.is_device_lost(), "{error}");
            assert!(error.to_string().contains("restart the program"), "{error}");
        }
        assert_readable(&text, &tokens);
        text.truncate(3);
        assert_readable(&text, &tokens[..3]);
    }
}
