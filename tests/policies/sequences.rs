//! The engine's promises about the state of a sequence.

use kcache::Error;
use kcache::backend::cpu::Cpu;
use kcache::cache::{KvPolicy, Selection};
use kcache::engine::{CancelFlag, Context, ContextOptions, Step};

use crate::common::{context, fixture, never};
use crate::{LLAMA, assert_same, decode, run, sparse, tokens};

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
