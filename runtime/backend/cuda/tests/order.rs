//! Streams that run their work in any order that events allow, drawn from seeds: without a GPU the
//! stand-in holds work back, on a device kernels sleep before it.

use std::sync::Arc;

use super::checkpoint::SMALLEST;
use super::{Cuda, device};
use crate::cache::{KvPolicy, Selection};
use crate::driver::reorder;
use crate::driver::testing::in_own_process;
use crate::engine::{CancelFlag, Context, ContextOptions, Model, Step};

/// The first tokens of the prompt, and of one that leaves other rows behind.
const PROMPT: u32 = 11;
const OTHER: u32 = 12;

/// Decode steps, the last of which launch the second as a graph.
const STEPS: u32 = 4;

/// Logits of a prompt in two chunks that begins with `first`, whose V goes to the host and comes
/// back, and of decode steps that read it there.
fn run(model: &Arc<Model<Cuda>>, first: u32) -> Vec<u32> {
    let options = ContextOptions {
        n_ctx: Some(64),
        policy: KvPolicy {
            selection: Selection::TopN { n: 8 },
            sinks: 2,
            window: 4,
            dense_layers: 0,
            ..KvPolicy::kcache()
        },
        chunk: Some(16),
        ..ContextOptions::default()
    };
    let mut context = Context::new(model.clone(), &options).unwrap_or_else(|e| panic!("{e}"));
    let mut sequence = context.sequence().unwrap_or_else(|e| panic!("{e}"));
    let prompt: Vec<u32> = (0..32).map(|i| (i * 37 + first) % 300).collect();
    let read = context.prefill(&mut sequence, &prompt, &CancelFlag::default());
    let mut logits = read.unwrap_or_else(|e| panic!("{e}"));
    for token in 7..7 + STEPS {
        let sequence = &mut sequence;
        let decoded = context.decode(&mut [Step { sequence, token }]);
        logits.extend(decoded.unwrap_or_else(|e| panic!("{e}")));
    }
    logits.into_iter().map(f32::to_bits).collect()
}

/// How many of `seeds` orders change a bit.
fn changed(model: &Arc<Model<Cuda>>, expected: &[u32], seeds: u64, waits: bool) -> usize {
    let changes = |&seed: &u64| {
        // What is read too early is then of another prompt.
        run(model, OTHER);
        reorder(Some(seed), waits);
        let got = run(model, PROMPT);
        reorder(None, true);
        if waits && got != expected {
            println!("seed {seed} changes the logits");
        }
        got != expected
    };
    (0..seeds).filter(changes).count()
}

#[test]
fn the_order_of_streams_changes_nothing() {
    in_own_process("backend::cuda::tests::order::no_legal_order_changes_a_bit");
}

#[test]
#[ignore = "holds back the work of all streams, and so runs in a process of its own"]
fn no_legal_order_changes_a_bit() {
    let folder = SMALLEST.write(41);
    let model = Model::load(folder.path(), device(), &mut |_, _| Ok(()));
    let model = Arc::new(model.unwrap_or_else(|e| panic!("{e}")));
    let expected = run(&model, PROMPT);
    assert_eq!(changed(&model, &expected, 50, true), 0);
    // The orders are such that a missing wait shows.
    let seen = changed(&model, &expected, 10, false);
    println!("without waits {seen} of 10 orders change the logits");
    assert!(seen > 0);
}
