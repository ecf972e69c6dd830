//! Byte-level BPE: the demo model.

use crate::data::{check, demo, golden};
use crate::random::Random;

#[test]
fn ids_equal_the_reference() {
    check(&demo(), &golden("demo.json"));
}

#[test]
fn a_novel_begins_with_the_ids_of_llama_cpp() {
    let text = "It is a truth universally acknowledged, that a single man in possession\nof a";
    let ids = demo().encode(text, true).unwrap();
    let expected = [
        1589, 314, 253, 4569, 21902, 14494, 28, 338, 253, 2244, 555, 281, 13932, 198, 1714, 253,
    ];
    assert_eq!(ids[..14], expected[..14]);
    assert_eq!(ids.len(), 16);
}

#[test]
fn special_tokens_are_recognised_in_text_and_skipped_in_output() {
    let demo = demo();
    let ids = demo
        .encode("<|im_start|>user\nHi<|im_end|>\n", false)
        .unwrap();
    assert_eq!(ids, [1, 4093, 198, 26843, 2, 198]);
    assert_eq!(demo.decode(&ids, true).unwrap(), "user\nHi\n");
    let all = demo.decode(&ids, false).unwrap();
    assert_eq!(all, "<|im_start|>user\nHi<|im_end|>\n");
    assert!(demo.is_special(1) && demo.is_special(2) && !demo.is_special(198));
}

#[test]
fn tokens_have_names() {
    let demo = demo();
    assert_eq!(demo.vocab_size(), 49152);
    assert_eq!(demo.token(2).as_deref(), Some("<|im_end|>"));
    assert_eq!(demo.id("<|im_end|>"), Some(2));
    assert_eq!(demo.id("Ġtruth"), Some(4569));
    assert_eq!(demo.token(4569).as_deref(), Some("Ġtruth"));
    assert_eq!(demo.token(49152), None);
    assert_eq!(demo.id("no such token"), None);
}

#[test]
fn any_text_comes_back() {
    let demo = demo();
    let mut random = Random::new(1);
    for _ in 0..500 {
        let text = random.text(60);
        let ids = demo.encode(&text, true).unwrap();
        assert_eq!(demo.decode(&ids, false).unwrap(), text);
    }
}

/// The vocabulary lacks some bytes that text hardly ever has.
#[test]
fn bytes_outside_the_vocabulary_are_left_out() {
    let demo = demo();
    let ids = demo.encode("a\u{4}b", true).unwrap();
    assert_eq!(demo.decode(&ids, false).unwrap(), "ab");
}

#[test]
fn ids_outside_the_model_are_refused() {
    let error = demo().decode(&[504, 1_000_000], true).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tokenizer: id 1000000 is outside the vocabulary of 50000"
    );
}

/// Runs of blanks are where patterns with lookahead go quadratic.
#[test]
fn long_texts_take_time_in_proportion() {
    let demo = demo();
    for text in [
        " ".repeat(500_000),
        "a b ".repeat(1 << 18),
        "\n".repeat(1 << 18),
    ] {
        let start = std::time::Instant::now();
        let ids = demo.encode(&text, true).unwrap();
        assert_eq!(demo.decode(&ids, false).unwrap(), text);
        let seconds = start.elapsed().as_secs_f32();
        assert!(seconds < 20.0, "{} bytes took {seconds} s", text.len());
    }
}

#[test]
fn runs_of_blanks_beyond_the_regex_engine_are_refused() {
    let error = demo().encode(&"\n".repeat(500_001), true).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tokenizer: 500001 bytes of blanks in a row, more than 500000"
    );
}

#[test]
fn one_tokenizer_serves_several_threads() {
    let demo = demo();
    let text = "It is a truth universally acknowledged";
    let expected = demo.encode(text, true).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let (demo, expected) = (demo.clone(), &expected);
            scope.spawn(move || assert_eq!(&demo.encode(text, true).unwrap(), expected));
        }
    });
}
