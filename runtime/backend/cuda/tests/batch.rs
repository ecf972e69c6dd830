//! Several texts at once on a device, and what becomes of them when it fails.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::checkpoint::{ALONE, GROUPED};
use super::{Cuda, device};
use crate::Model;
use crate::cache::KvPolicy;
use crate::engine::batch::Event;
use crate::engine::{
    Batch, Context, ContextOptions, FinishReason, GenerateOptions, SamplingParams, TextId,
};

fn batch(shape: &super::Shape, seed: u64, policy: KvPolicy) -> Batch<Cuda> {
    let folder = shape.write(seed);
    let model = Model::load(folder.path(), device(), &mut |_, _| Ok(()));
    let options = ContextOptions {
        n_ctx: Some(128),
        policy,
        ..ContextOptions::default()
    };
    let model = Arc::new(model.unwrap_or_else(|e| panic!("{e}")));
    Batch::new(Context::new(model, &options).unwrap_or_else(|e| panic!("{e}")))
}

fn options(tokens: usize) -> GenerateOptions {
    GenerateOptions {
        sampling: SamplingParams::greedy(),
        max_new_tokens: Some(tokens),
        stop: Vec::new(),
        stop_ids: Vec::new(),
        continues_text: true,
    }
}

fn add(batch: &mut Batch<Cuda>, len: u32, tokens: usize) -> TextId {
    let prompt = (0..len).map(|i| (i * 37 + len) % 300).collect();
    let added = batch.add(prompt, options(tokens));
    added.unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn texts_of_different_lengths_share_the_steps_of_a_device() {
    for policy in [KvPolicy::full(), KvPolicy::kcache()] {
        let mut batch = batch(&GROUPED, 21, policy);
        let mut tokens: BTreeMap<TextId, usize> = BTreeMap::new();
        let mut ended = Vec::new();
        add(&mut batch, 70, 4);
        let mut next = [3, 9].into_iter();
        while !batch.is_empty() {
            for (id, event) in batch.step() {
                match event {
                    Event::Piece(piece) => {
                        *tokens.entry(id).or_default() += piece.token.iter().len()
                    }
                    Event::Finished(reason, _) => ended.push(reason),
                    Event::Failed(error) => panic!("{error}"),
                }
            }
            if let Some(len) = next.next() {
                add(&mut batch, len, 3);
            }
        }
        assert_eq!(tokens.into_values().collect::<Vec<_>>(), [4, 3, 3]);
        assert_eq!(ended, [FinishReason::Length; 3]);
    }
}

#[test]
fn when_memory_runs_out_the_youngest_fails_and_the_others_go_on() {
    let mut batch = batch(&ALONE, 22, KvPolicy::full());
    // The next token of each needs another block of the cache.
    let old = add(&mut batch, 64, 3);
    let young = add(&mut batch, 64, 3);
    assert_eq!(batch.step().len(), 2, "a first token each");
    batch.context().model().backend().context.faults().arm(1);
    let events = batch.step();
    let [(failed, Event::Failed(error))] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(*failed, young);
    assert!(error.is_out_of_memory(), "{error}");
    let mut left = Vec::new();
    while !batch.is_empty() {
        left.extend(batch.step());
    }
    assert!(left.iter().all(|(id, _)| *id == old));
    assert!(
        matches!(left.last(), Some((_, Event::Finished(..)))),
        "{left:?}"
    );
}

#[test]
fn a_lost_device_fails_every_text_and_all_that_come() {
    let mut batch = batch(&ALONE, 23, KvPolicy::full());
    add(&mut batch, 5, 9);
    add(&mut batch, 6, 9);
    batch.step();
    add(&mut batch, 7, 9);
    batch.context().model().backend().context.lose();
    let events = batch.step();
    assert_eq!(events.len(), 3);
    for (_, event) in events {
        let Event::Failed(error) = event else {
            panic!("{event:?}")
        };
        assert!(error.is_device_lost(), "{error}");
    }
    assert!(batch.is_empty());
    let again = batch.add(vec![1], options(1));
    assert!(again.is_err_and(|error| error.is_device_lost()));
}
