//! Tokenizer metadata of GGUF files that must be refused, with a message naming the key.

use kcache_models::Error;
use kcache_models::gguf::GgufFile;
use kcache_models::tokenizer::Tokenizer;

use crate::builder::{Gguf, array, kind};

/// The metadata of a small sound tokenizer, each part of which a test may change.
struct Spec {
    model: &'static str,
    pre: Option<&'static str>,
    tokens: Vec<String>,
    types: Option<Vec<i32>>,
    scores: Option<Vec<f32>>,
    merges: Option<Vec<&'static str>>,
    ids: Vec<(&'static str, u32)>,
    flags: Vec<(&'static str, bool)>,
}

fn byte_level() -> Spec {
    Spec {
        model: "gpt2",
        pre: Some("gpt-2"),
        tokens: ["a", "b", "ab", "<|end|>"].map(str::to_owned).into(),
        types: Some(vec![1, 1, 1, 3]),
        scores: None,
        merges: Some(vec!["a b"]),
        ids: vec![("eos_token_id", 3)],
        flags: vec![],
    }
}

fn sentencepiece() -> Spec {
    let tokens = ["<unk>", "<s>", "</s>", "<0x0A>", "▁", "a", "b", "ab"];
    Spec {
        model: "llama",
        pre: None,
        tokens: tokens.map(str::to_owned).into(),
        types: Some(vec![2, 3, 3, 6, 1, 1, 1, 1]),
        scores: Some(vec![0.0, 0.0, 0.0, 0.0, -1.0, -2.0, -3.0, -4.0]),
        merges: None,
        ids: vec![("bos_token_id", 1), ("eos_token_id", 2)],
        flags: vec![],
    }
}

impl Spec {
    fn gguf(&self) -> Gguf {
        let key = |name: &str| format!("tokenizer.ggml.{name}");
        let tokens: Vec<&str> = self.tokens.iter().map(String::as_str).collect();
        let mut gguf = Gguf::new()
            .str(&key("model"), self.model)
            .strings(&key("tokens"), &tokens);
        if let Some(pre) = self.pre {
            gguf = gguf.str(&key("pre"), pre);
        }
        if let Some(types) = &self.types {
            let bytes: Vec<u8> = types.iter().flat_map(|t| t.to_le_bytes()).collect();
            let payload = array(kind::I32, types.len() as u64, &bytes);
            gguf = gguf.raw(key("token_type"), kind::ARRAY, &payload);
        }
        if let Some(scores) = &self.scores {
            let bytes: Vec<u8> = scores.iter().flat_map(|s| s.to_le_bytes()).collect();
            let payload = array(kind::F32, scores.len() as u64, &bytes);
            gguf = gguf.raw(key("scores"), kind::ARRAY, &payload);
        }
        if let Some(merges) = &self.merges {
            gguf = gguf.strings(&key("merges"), merges);
        }
        for (name, id) in &self.ids {
            gguf = gguf.u32(&key(name), *id);
        }
        for (name, flag) in &self.flags {
            gguf = gguf.bool(&key(name), *flag);
        }
        gguf
    }

    fn read(&self, rows: usize) -> Result<Tokenizer, Error> {
        let (_dir, path) = self.gguf().write();
        Tokenizer::from_gguf(&GgufFile::open(&path).unwrap(), rows)
    }
}

#[track_caller]
fn refused(mut spec: Spec, change: impl FnOnce(&mut Spec), expected: &str) {
    change(&mut spec);
    let message = spec.read(100).unwrap_err().to_string();
    assert!(message.contains("model.gguf: "), "{message}");
    assert!(message.contains(expected), "no `{expected}` in: {message}");
}

#[test]
fn the_unchanged_files_are_sound() {
    let byte_level = byte_level().read(4).unwrap();
    assert_eq!(
        byte_level.encode("abba<|end|>", true).unwrap(),
        [2, 1, 0, 3]
    );
    let sentencepiece = sentencepiece().read(8).unwrap();
    assert_eq!(
        sentencepiece.encode("ab\nba", true).unwrap(),
        [1, 4, 7, 3, 6, 5]
    );
    let padded = sentencepiece.decode(&[4, 7, 3, 6, 5], true).unwrap();
    assert_eq!(padded, "ab\nba");
}

#[test]
fn flags_decide_about_bos_eos_and_the_space() {
    let mut spec = sentencepiece();
    spec.flags = vec![
        ("add_bos_token", false),
        ("add_eos_token", true),
        ("add_space_prefix", false),
    ];
    assert_eq!(spec.read(8).unwrap().encode("ab", true).unwrap(), [7, 2]);
}

#[test]
fn unknown_kinds_are_named_with_the_known_ones() {
    let known = "supported pre-tokenizers are default, gpt-2, smollm";
    refused(byte_level(), |s| s.pre = Some("alien"), "pre is \"alien\"");
    refused(byte_level(), |s| s.pre = Some("alien"), known);
    refused(
        byte_level(),
        |s| s.model = "bert",
        "model is \"bert\"; gpt2 and llama",
    );
    refused(
        byte_level(),
        |s| s.types = Some(vec![1, 1, 1, 7]),
        "token_type[3] is 7",
    );
    refused(
        byte_level(),
        |s| s.types = Some(vec![1, 1, 1, -1]),
        "token_type[3] is -1",
    );
}

#[test]
fn a_vocabulary_larger_than_the_embedding() {
    let message = byte_level().read(3).unwrap_err().to_string();
    assert!(
        message.contains("tokens has 4 entries, but the embedding has 3 rows"),
        "{message}"
    );
    let smaller = byte_level().read(1000).unwrap();
    assert_eq!(smaller.decode(&[2, 999], true).unwrap(), "ab");
}

#[test]
fn arrays_of_other_lengths() {
    refused(
        byte_level(),
        |s| s.types = Some(vec![1]),
        "token_type has 1 entries",
    );
    refused(
        sentencepiece(),
        |s| s.scores = Some(vec![0.0]),
        "scores has 1 entries",
    );
    refused(sentencepiece(), |s| s.scores = None, "scores is missing");
    refused(byte_level(), |s| s.merges = None, "merges is missing");
}

#[test]
fn tokens_that_cannot_be_text() {
    refused(
        byte_level(),
        |s| s.tokens[1] = "a\0".into(),
        "tokens[1] holds a NUL",
    );
    let long = "x".repeat(65_537);
    refused(
        byte_level(),
        |s| s.tokens[3] = long,
        "tokens[3] has 65537 bytes, more than the limit of 65536",
    );
    refused(
        byte_level(),
        |s| s.tokens[1] = "a".into(),
        "tokens[1] repeats entry 0, \"a\"",
    );
    for bad in ["<0x-1>", "<0xZZ>", "0A", ""] {
        refused(
            sentencepiece(),
            |s| s.tokens[3] = bad.into(),
            "tokens[3] is \"",
        );
    }
}

#[test]
fn merges_of_what_is_no_token() {
    for bad in ["a", "", " ", "a ", " a", "a c", "b a", "ab ab"] {
        refused(
            byte_level(),
            |s| s.merges = Some(vec!["a b", bad]),
            "merges[1], ",
        );
    }
}

#[test]
fn scores_that_order_nothing() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        refused(
            sentencepiece(),
            |s| s.scores.as_mut().unwrap()[5] = bad,
            "scores[5] is ",
        );
    }
}

#[test]
fn pieces_too_long_to_cut() {
    let long = "x".repeat(513);
    refused(
        sentencepiece(),
        |s| s.tokens[7] = long,
        "tokens[7] has 513 bytes, more than 512",
    );
}

#[test]
fn ids_outside_the_vocabulary() {
    refused(
        sentencepiece(),
        |s| s.ids[0] = ("bos_token_id", 8),
        "bos_token_id is 8, but tokenizer.ggml.tokens has 8 entries",
    );
    refused(
        sentencepiece(),
        |s| s.ids.push(("unknown_token_id", 99)),
        "unknown_token_id is 99",
    );
    refused(
        sentencepiece(),
        |s| s.ids = vec![],
        "bos_token_id is missing",
    );
}
