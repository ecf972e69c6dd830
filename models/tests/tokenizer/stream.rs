//! Streamed text against text decoded at once.

use kcache_models::tokenizer::Tokenizer;

use crate::data::{data, demo, from_gguf};
use crate::random::Random;

fn tokenizers() -> [Tokenizer; 2] {
    [demo(), from_gguf(&data("sentencepiece/tokenizer.gguf"))]
}

/// Random ids make invalid UTF-8 of every kind.
#[test]
fn pieces_join_to_the_decoded_text() {
    let mut random = Random::new(3);
    for tokenizer in tokenizers() {
        let n = tokenizer.vocab_size() as u32;
        for _ in 0..300 {
            let ids: Vec<u32> = (0..random.below(40)).map(|_| random.below(n)).collect();
            let mut stream = tokenizer.stream();
            let mut text = String::new();
            for id in &ids {
                text += &stream.push(*id).unwrap();
            }
            text += &stream.finish();
            assert_eq!(text, tokenizer.decode(&ids, true).unwrap(), "{ids:?}");
        }
    }
}

#[test]
fn a_character_waits_for_its_last_byte() {
    let demo = demo();
    let ids = demo.encode("𠀀", false).unwrap();
    assert!(ids.len() > 1, "{ids:?} are too few to split a character");
    let mut stream = demo.stream();
    let (last, first) = ids.split_last().unwrap();
    for id in first {
        assert_eq!(stream.push(*id).unwrap(), "");
    }
    assert_eq!(stream.push(*last).unwrap(), "𠀀");
    assert_eq!(stream.finish(), "");
}

#[test]
fn an_unfinished_character_is_flushed_as_a_replacement() {
    let demo = demo();
    let ids = demo.encode("𠀀", false).unwrap();
    let mut stream = demo.stream();
    assert_eq!(stream.push(ids[0]).unwrap(), "");
    assert_eq!(stream.finish(), "\u{fffd}");
}

/// A model that emits continuation bytes for ever must not be buffered for ever.
#[test]
fn invalid_bytes_flow_through() {
    let tokenizer = from_gguf(&data("sentencepiece/tokenizer.gguf"));
    let byte = tokenizer.id("<0x80>").unwrap();
    let mut stream = tokenizer.stream();
    let start = std::time::Instant::now();
    for _ in 0..100_000 {
        assert_eq!(stream.push(byte).unwrap(), "\u{fffd}");
    }
    assert!(start.elapsed().as_secs_f32() < 5.0, "{:?}", start.elapsed());
}

#[test]
fn ids_outside_the_model_are_refused() {
    let mut stream = demo().stream();
    assert!(stream.push(u32::MAX).is_err());
    assert_eq!(stream.push(504).unwrap(), "The");
}
