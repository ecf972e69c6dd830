//! Several texts at once: each is what it would be alone.
#![allow(clippy::expect_used, clippy::panic)] // helpers of tests fail by panicking

mod common;

use std::collections::BTreeMap;

use common::{context, fixture};
use kcache::Error;
use kcache::backend::cpu::Cpu;
use kcache::cache::{KvPolicy, Selection};
use kcache::engine::batch::Event;
use kcache::engine::{
    Batch, CancelFlag, Context, ContextOptions, FinishReason, GenerateOptions, Generation,
    SamplingParams, TextId,
};

const MODEL: &str = "llama-gqa-llama3-rope";

/// A prompt of `len` ids that depend on `seed`.
fn prompt(seed: u32, len: usize) -> Vec<u32> {
    (0..len as u32)
        .map(|i| (i * 37 + seed * 101) % 300)
        .collect()
}

fn options(max_new_tokens: usize) -> GenerateOptions {
    GenerateOptions {
        sampling: SamplingParams::greedy(),
        max_new_tokens: Some(max_new_tokens),
        stop: Vec::new(),
        stop_ids: Vec::new(),
        continues_text: true,
    }
}

fn drawn(seed: u64, max_new_tokens: usize) -> GenerateOptions {
    GenerateOptions {
        sampling: SamplingParams {
            temperature: 1.0,
            seed,
            ..SamplingParams::greedy()
        },
        ..options(max_new_tokens)
    }
}

fn sparse() -> KvPolicy {
    KvPolicy {
        selection: Selection::TopN { n: 4 },
        sinks: 1,
        window: 4,
        hot_rows: 8,
        ..KvPolicy::kcache()
    }
}

/// What became of each text.
#[derive(Default)]
struct Told {
    tokens: BTreeMap<TextId, Vec<u32>>,
    ends: BTreeMap<TextId, FinishReason>,
    hashes: BTreeMap<TextId, u64>,
}

impl Told {
    fn step(&mut self, batch: &mut Batch<Cpu>) {
        for (id, event) in batch.step() {
            match event {
                Event::Piece(piece) => self.tokens.entry(id).or_default().extend(piece.token),
                Event::Finished(reason, stats) => {
                    assert!(self.ends.insert(id, reason).is_none(), "ended twice");
                    self.hashes.insert(id, stats.logits_hash);
                }
                Event::Failed(error) => panic!("{error}"),
            }
        }
    }

    fn drain(&mut self, batch: &mut Batch<Cpu>) {
        while !batch.is_empty() {
            self.step(batch);
        }
    }
}

fn alone(context: &mut Context<Cpu>, prompt: &[u32], options: GenerateOptions) -> Vec<u32> {
    let mut sequence = context.sequence().expect("a sequence");
    let cancel = CancelFlag::default();
    let mut generation = Generation::start(context, &mut sequence, prompt, options, cancel)
        .unwrap_or_else(|e| panic!("{e}"));
    let mut tokens = Vec::new();
    while let Some(piece) = generation.next_piece().unwrap_or_else(|e| panic!("{e}")) {
        tokens.extend(piece.token);
    }
    tokens
}

#[test]
fn texts_that_join_and_leave_are_what_they_are_alone() {
    let model = fixture(MODEL);
    for policy in [KvPolicy::full(), sparse()] {
        let mut batch = Batch::new(context(&model, policy.clone()));
        let mut told = Told::default();
        let mut texts = Vec::new();
        for i in 0..6 {
            let prompt = prompt(i, 3 + 29 * i as usize);
            let options = drawn(u64::from(i), 5 + 7 * (i as usize % 3));
            let id = batch.add(prompt.clone(), options.clone());
            texts.push((id.expect("added"), prompt, options));
            // The next joins while the others are at work.
            told.step(&mut batch);
            told.step(&mut batch);
        }
        told.drain(&mut batch);
        let mut context = context(&model, policy);
        for (id, prompt, options) in texts {
            assert_eq!(told.tokens[&id], alone(&mut context, &prompt, options));
            assert_eq!(told.ends[&id], FinishReason::Length);
        }
    }
}

#[test]
fn a_long_prompt_is_read_in_parts_while_others_are_decoded() {
    let model = fixture(MODEL);
    let options_of_context = ContextOptions {
        chunk: Some(16),
        ..ContextOptions::default()
    };
    let context = Context::new(model, &options_of_context).expect("a context");
    let mut batch = Batch::new(context);
    let mut told = Told::default();
    let short = batch.add(prompt(1, 2), options(60)).expect("added");
    told.step(&mut batch);
    let long = batch.add(prompt(2, 100), options(1)).expect("added");
    let mut steps = 0;
    while !told.tokens.contains_key(&long) {
        let before = told.tokens[&short].len();
        told.step(&mut batch);
        assert_eq!(told.tokens[&short].len(), before + 1, "a token each step");
        steps += 1;
    }
    assert_eq!(steps, 25, "a quarter of a chunk each step");
}

#[test]
fn short_prompts_share_a_chunk() {
    let mut batch = Batch::new(context(&fixture(MODEL), KvPolicy::full()));
    for i in 0..8 {
        batch.add(prompt(i, 10), options(3)).expect("added");
    }
    let mut told = Told::default();
    told.step(&mut batch);
    assert_eq!(told.tokens.len(), 8, "all have their first token");
}

#[test]
fn a_removed_text_gives_its_memory_back_and_disturbs_nobody() {
    let model = fixture(MODEL);
    let mut batch = Batch::new(context(&model, KvPolicy::full()));
    let stays = batch.add(prompt(1, 20), options(12)).expect("added");
    let goes = batch.add(prompt(2, 40), options(12)).expect("added");
    let mut told = Told::default();
    told.step(&mut batch);
    let both = batch.kv_bytes();
    let stats = batch.remove(goes).expect("it was there");
    assert_eq!((stats.prompt_tokens, stats.new_tokens), (40, 1));
    assert!(batch.remove(goes).is_none(), "it is gone");
    assert!(batch.kv_bytes()[0] < both[0]);
    told.drain(&mut batch);
    assert_eq!(batch.kv_bytes(), [0; 3]);
    let mut context = context(&model, KvPolicy::full());
    let expected = alone(&mut context, &prompt(1, 20), options(12));
    assert_eq!(told.tokens[&stays], expected);
}

#[test]
fn texts_end_for_every_reason() {
    let model = fixture(MODEL);
    let mut single = context(&model, KvPolicy::full());
    let known = alone(&mut single, &prompt(3, 9), options(8));
    let stop_id = known[5];
    let first = known.iter().position(|&t| t == stop_id).expect("there");
    let n_ctx = ContextOptions {
        n_ctx: Some(20),
        ..ContextOptions::default()
    };
    let context = Context::new(model, &n_ctx).expect("a context");
    let mut batch = Batch::new(context);
    let by_id = GenerateOptions {
        stop_ids: vec![stop_id],
        ..options(8)
    };
    let unlimited = GenerateOptions {
        max_new_tokens: None,
        ..options(0)
    };
    let ended = batch.add(prompt(3, 9), by_id).expect("added");
    let full = batch.add(prompt(3, 9), unlimited).expect("added");
    let none = batch.add(prompt(3, 9), options(0)).expect("added");
    let mut told = Told::default();
    told.drain(&mut batch);
    assert_eq!(told.ends[&ended], FinishReason::EndOfText);
    assert_eq!(told.tokens.get(&ended).map_or(0, Vec::len), first);
    assert_eq!(told.ends[&full], FinishReason::ContextFull);
    assert_eq!(told.tokens[&full].len(), 20 - 9 + 1);
    assert_eq!(told.ends[&none], FinishReason::Length);
    assert!(!told.tokens.contains_key(&none));
}

#[test]
fn a_prompt_that_begins_like_an_earlier_text_is_computed_from_where_it_differs() {
    let model = fixture(MODEL);
    let mut batch = Batch::new(context(&model, KvPolicy::full())).reusing(2);
    let mut computed = |prompt: Vec<u32>| {
        let id = batch.add(prompt, options(4)).expect("added");
        let (mut tokens, mut stats) = (Vec::new(), None);
        while !batch.is_empty() {
            for (of, event) in batch.step() {
                assert_eq!(of, id);
                match event {
                    Event::Piece(piece) => tokens.extend(piece.token),
                    Event::Finished(_, figures) => stats = Some(figures),
                    Event::Failed(error) => panic!("{error}"),
                }
            }
        }
        (tokens, stats.expect("figures").prompt_tokens)
    };
    let first = prompt(1, 40);
    let (reply, all) = computed(first.clone());
    assert_eq!(all, 40);
    // The last token that was drawn is not in the sequence.
    let next = [&first[..], &reply, &[5, 6]].concat();
    assert_eq!(computed(next.clone()).1, 3);
    assert_eq!(
        computed(next.clone()),
        (computed(next.clone()).0, 1),
        "but for its last token"
    );
    // Too different to give up what is held, as long as there is room.
    assert_eq!(computed([&first[..5], &[9; 20]].concat()).1, 25);
    assert_eq!(computed(next.clone()).1, 1, "still there");
    // Without room the one used longest ago goes.
    assert_eq!(computed(prompt(8, 30)).1, 30);
    assert_eq!(computed(next.clone()).1, 1, "used lately");
    assert!(batch.kv_bytes()[0] > 0);
    let mut alone_context = context(&model, KvPolicy::full());
    assert_eq!(reply, alone(&mut alone_context, &first, options(4)));
}

#[test]
fn what_cannot_be_computed_is_refused_when_it_is_added() {
    let mut batch = Batch::new(context(&fixture(MODEL), KvPolicy::full()));
    let hot = GenerateOptions {
        sampling: SamplingParams {
            temperature: -1.0,
            ..SamplingParams::greedy()
        },
        ..options(1)
    };
    let n_ctx = batch.context().n_ctx();
    for (prompt, options) in [
        (vec![], options(1)),
        (vec![u32::MAX], options(1)),
        (prompt(1, 4), hot),
    ] {
        let refused = batch.add(prompt, options);
        assert!(matches!(refused, Err(Error::InvalidArgument(_))));
    }
    let refused = batch.add(prompt(1, n_ctx + 1), options(1));
    assert!(matches!(refused, Err(Error::ContextFull { .. })));
    assert!(batch.is_empty() && batch.step().is_empty());
}
