//! tokenizer.json files that must be refused, with a message and without a panic.

use std::fs;

use kcache_models::Error;
use kcache_models::tokenizer::Tokenizer;
use serde_json::{Value, json};

use crate::hf::{byte_level, folder};

fn read(tokenizer: &Value, rows: usize) -> Error {
    let dir = folder(tokenizer, None);
    Tokenizer::from_hf(dir.path(), rows).unwrap_err()
}

#[track_caller]
fn refused(change: impl FnOnce(&mut Value), expected: &str) {
    let mut tokenizer = byte_level();
    change(&mut tokenizer);
    let message = read(&tokenizer, 300).to_string();
    assert!(message.contains("tokenizer.json: "), "{message}");
    assert!(message.contains(expected), "no `{expected}` in: {message}");
}

#[track_caller]
fn unsupported(change: impl FnOnce(&mut Value), expected: &str) {
    let mut tokenizer = byte_level();
    change(&mut tokenizer);
    let error = read(&tokenizer, 300);
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains(expected), "no `{expected}` in: {message}");
}

#[test]
fn a_missing_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let message = Tokenizer::from_hf(dir.path(), 10).unwrap_err().to_string();
    assert!(
        message.contains("tokenizer.json: No such file"),
        "{message}"
    );
}

#[test]
fn text_that_is_no_object() {
    for (text, expected) in [
        ("", "not JSON"),
        ("[]", "not a JSON object"),
        ("{", "not JSON"),
        ("{}", "decoder is missing"),
        (&"[".repeat(1_000_000), "recursion limit"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("tokenizer.json"), text).unwrap();
        let message = Tokenizer::from_hf(dir.path(), 10).unwrap_err().to_string();
        assert!(message.contains(expected), "no `{expected}` in: {message}");
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("tokenizer.json"), b"\"\xff\"").unwrap();
    let message = Tokenizer::from_hf(dir.path(), 10).unwrap_err().to_string();
    assert!(message.contains("UTF-8"), "{message}");
}

#[test]
fn a_vocabulary_larger_than_the_embedding() {
    let message = read(&byte_level(), 100).to_string();
    assert!(
        message.contains("but the embedding has 100 rows"),
        "{message}"
    );
    refused(
        |t| t["model"]["vocab"]["he"] = json!(300),
        "\"he\" has id 300",
    );
    refused(
        |t| t["model"]["vocab"]["he"] = json!(-1),
        "\"he\" has id -1",
    );
    refused(
        |t| t["model"]["vocab"]["he"] = json!(u64::MAX),
        "has id 18446744073709551615",
    );
    refused(
        |t| t["added_tokens"][0]["id"] = json!(4_294_967_296_u64),
        "\"<|bos|>\" has id 4294967296",
    );
}

#[test]
fn one_id_for_two_tokens() {
    refused(|t| t["model"]["vocab"]["he"] = json!(5), "id 5 is both ");
    refused(|t| t["added_tokens"][0]["id"] = json!(7), "id 7 is both ");
}

#[test]
fn added_tokens_that_the_encoder_would_number_otherwise() {
    let added = |id: u32| {
        move |t: &mut Value| {
            let list = t["added_tokens"].as_array_mut().unwrap();
            list.push(
                json!({"id": id, "content": "<new>", "special": true, "normalized": false,
                             "single_word": false, "lstrip": false, "rstrip": false}),
            );
        }
    };
    let mut sound = byte_level();
    added(260)(&mut sound);
    let dir = folder(&sound, None);
    assert_eq!(
        Tokenizer::from_hf(dir.path(), 300).unwrap().id("<new>"),
        Some(260)
    );
    refused(added(270), "\"<new>\" has id 270, expected Some(260)");
}

#[test]
fn tokens_that_cannot_be_text() {
    refused(
        |t| t["added_tokens"][0]["content"] = json!("a\0b"),
        "token 0 holds a NUL",
    );
    refused(
        |t| t["model"]["vocab"]["a\0b"] = json!(299),
        "token 299 holds a NUL",
    );
    let long = "x".repeat(65_537);
    refused(
        |t| t["added_tokens"][0]["content"] = json!(long),
        "token 0 has 65537 bytes, more than the limit of 65536",
    );
}

#[test]
fn byte_tokens_that_are_no_byte() {
    for bad in ["<0x-1>", "<0xZZ>", "<0x+1>"] {
        let change = |t: &mut Value| {
            t["model"]["byte_fallback"] = json!(true);
            t["model"]["vocab"][bad] = json!(299);
        };
        refused(change, "token 299 is \"<0x");
    }
}

/// The crate would copy the halves into a buffer that is too short.
#[test]
fn merges_of_what_is_no_token() {
    for (merge, expected) in [
        (json!(["no", "token"]), "is not made of tokens"),
        (json!(["he", "he"]), "is not made of tokens or makes none"),
        (
            json!(["<|bos|>", "<|bos|>"]),
            "is not made of tokens or makes none",
        ),
        (json!(["h"]), "is not a pair"),
        (json!("h"), "is not a pair"),
        (json!("h e e"), "is not made of tokens"),
        (json!(3), "is not a pair"),
        (json!(["h", 3]), "is not a pair"),
    ] {
        refused(|t| t["model"]["merges"] = json!([merge]), expected);
    }
    refused(
        |t| t["model"]["merges"] = json!("h e"),
        "model.merges is not a list",
    );
    refused(
        |t| t["model"]["vocab"] = json!([]),
        "model.vocab is not an object",
    );
    refused(|t| t["model"] = json!(3), "model is 3, expected an object");
}

#[test]
fn parts_that_are_not_supported() {
    unsupported(
        |t| t["model"]["type"] = json!("Unigram"),
        "model.type is \"Unigram\"",
    );
    unsupported(
        |t| t["model"]["dropout"] = json!(0.1),
        "model.dropout is 0.1",
    );
    unsupported(
        |t| t["model"]["continuing_subword_prefix"] = json!("é"),
        "continuing_subword_prefix",
    );
    unsupported(
        |t| t["normalizer"] = json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
        "normalizer has type \"Precompiled\"",
    );
    unsupported(
        |t| t["pre_tokenizer"] = json!({"type": "BertPreTokenizer"}),
        "pre_tokenizer has type \"BertPreTokenizer\"",
    );
    unsupported(|t| t["decoder"] = json!(null), "decoder is missing");
    unsupported(
        |t| t["decoder"] = json!({"type": "CTC"}),
        "decoder has type \"CTC\"",
    );
    unsupported(
        |t| t["post_processor"] = json!({"type": "RobertaProcessing"}),
        "post_processor has type \"RobertaProcessing\"",
    );
}

/// The crate would look the name up and panic.
#[test]
fn templates_that_name_nothing() {
    refused(
        |t| t["post_processor"]["processors"][1]["special_tokens"] = json!({}),
        "is not ids around one text",
    );
    refused(
        |t| t["post_processor"]["processors"][1]["single"] = json!([]),
        "is not ids around one text",
    );
    let missing = "/post_processor/processors/1/special_tokens/<|bos|>/ids";
    refused(
        |t| *t.pointer_mut(missing).unwrap() = json!([299]),
        "post_processor adds id 299, which is no token",
    );
}

#[test]
fn patterns_that_do_not_compile() {
    let split = json!({"type": "Split", "pattern": {"Regex": "(["}, "behavior": "Isolated", "invert": false});
    refused(|t| t["pre_tokenizer"] = split, "");
    refused(|t| t["version"] = json!("9.9"), "9.9");
}

/// Cut anywhere, the file is refused; nothing panics on the way.
#[test]
fn a_truncated_file() {
    let text = byte_level().to_string();
    for end in (0..text.len()).step_by(97) {
        if !text.is_char_boundary(end) {
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("tokenizer.json"), &text[..end]).unwrap();
        assert!(Tokenizer::from_hf(dir.path(), 300).is_err(), "{end} bytes");
    }
}

/// Every value of the file in turn replaced by others of every type.
#[test]
fn any_one_value_may_be_wrong() {
    let sound = byte_level();
    let mut paths = Vec::new();
    collect(&sound, String::new(), &mut paths);
    let strange = [
        json!(null),
        json!(-1),
        json!(1e300),
        json!(""),
        json!([]),
        json!({}),
        json!([[]]),
    ];
    let mut refused = 0;
    for path in paths.iter().filter(|path| !path.contains("/vocab/")) {
        for value in &strange {
            let mut tokenizer = sound.clone();
            *tokenizer.pointer_mut(path).unwrap() = value.clone();
            let dir = folder(&tokenizer, None);
            match Tokenizer::from_hf(dir.path(), 300) {
                Ok(tokenizer) => drop(tokenizer.encode("he said: <|eot|>", true)),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > paths.iter().filter(|p| !p.contains("/vocab/")).count());
}

fn collect(value: &Value, at: String, paths: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let key = key.replace('~', "~0").replace('/', "~1");
                collect(value, format!("{at}/{key}"), paths);
            }
        }
        Value::Array(list) => {
            for (i, value) in list.iter().enumerate() {
                collect(value, format!("{at}/{i}"), paths);
            }
        }
        _ => {}
    }
    paths.push(at);
}
