//! tokenizer.json of byte-level models.

use std::fs;

use kcache_models::tokenizer::Tokenizer;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::data::{ROWS, from_hf};
use crate::random::Random;

/// Three special tokens, the 256 bytes and the merge of `h` and `e`, after which
/// Llama 3's pattern and template are put in place.
pub fn byte_level() -> Value {
    let alphabet = ('!'..='~').chain('¡'..='¬').chain('®'..='ÿ');
    let alphabet = alphabet.chain('\u{100}'..='\u{143}').map(String::from);
    let tokens = alphabet.chain(["he".to_owned()]);
    let vocab: serde_json::Map<_, _> = (3..).zip(tokens).map(|(id, t)| (t, json!(id))).collect();
    let special = |id: u32, text: &str| {
        json!({"id": id, "content": text, "special": true, "normalized": false,
               "single_word": false, "lstrip": false, "rstrip": false})
    };
    let mut all = serde_json::Map::new();
    for (id, text) in ["<|bos|>", "<|eos|>", "<|eot|>"].iter().enumerate() {
        all.insert((*text).to_owned(), json!(id));
    }
    all.extend(vocab);
    json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
        "padding": null,
        "added_tokens": [special(0, "<|bos|>"), special(1, "<|eos|>"), special(2, "<|eot|>")],
        "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": {"type": "Sequence", "processors": [
            {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true},
            {"type": "TemplateProcessing",
             "single": [{"SpecialToken": {"id": "<|bos|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
             "pair": [],
             "special_tokens": {"<|bos|>": {"id": "<|bos|>", "ids": [0], "tokens": ["<|bos|>"]}}}]},
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null,
                  "continuing_subword_prefix": null, "end_of_word_suffix": null,
                  "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                  "vocab": all, "merges": [["h", "e"]]},
    })
}

/// A folder with the two files.
pub fn folder(tokenizer: &Value, config: Option<Value>) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    if let Some(config) = config {
        fs::write(dir.path().join("tokenizer_config.json"), config.to_string()).unwrap();
    }
    dir
}

fn ids(tokenizer: &Value, config: Option<Value>, text: &str) -> Vec<u32> {
    let dir = folder(tokenizer, config);
    from_hf(dir.path()).encode(text, true).unwrap()
}

#[test]
fn the_template_adds_bos_and_truncation_is_ignored() {
    let tokenizer = byte_level();
    let vocab = &tokenizer["model"]["vocab"];
    let id = |t: &str| vocab[t].as_u64().unwrap() as u32;
    let expected = [0, id("he"), id("l"), id("l"), id("o"), 2];
    assert_eq!(ids(&tokenizer, None, "hello<|eot|>"), expected);
}

#[test]
fn merges_may_be_lists_or_strings() {
    let mut old = byte_level();
    old["model"]["merges"] = json!(["h e"]);
    assert_eq!(ids(&old, None, "the"), ids(&byte_level(), None, "the"));
}

#[test]
fn affixes_come_from_the_configuration_where_the_template_has_none() {
    let mut plain = byte_level();
    plain["post_processor"] = Value::Null;
    let text = ids(&plain, None, "he");
    let config = |bos: Value, eos: Value| {
        Some(
            json!({"bos_token": "<|bos|>", "eos_token": {"content": "<|eos|>"},
                    "add_bos_token": bos, "add_eos_token": eos}),
        )
    };
    for (bos, eos, expected) in [
        (json!(true), json!(false), [&[0], &text[..]].concat()),
        (json!(true), json!(true), [&[0], &text[..], &[1]].concat()),
        (json!(null), json!(null), text.clone()),
    ] {
        assert_eq!(ids(&plain, config(bos, eos), "he"), expected);
    }
    let both = ids(&byte_level(), config(json!(true), json!(false)), "he");
    assert_eq!(both, [&[0], &text[..]].concat());
}

#[test]
fn tokens_after_the_text_are_added_there() {
    let mut tokenizer = byte_level();
    tokenizer["post_processor"] = json!({"type": "TemplateProcessing",
        "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "end", "type_id": 0}}],
        "pair": [], "special_tokens": {"end": {"id": "end", "ids": [2, 1], "tokens": ["<|eot|>", "<|eos|>"]}}});
    let ids = ids(&tokenizer, None, "");
    assert_eq!(ids, [2, 1]);
}

/// A hole in the vocabulary, and rows of the embedding after its end.
#[test]
fn ids_without_a_token_have_no_text() {
    let mut tokenizer = byte_level();
    let he = tokenizer["model"]["vocab"]["he"].as_u64().unwrap() as u32;
    tokenizer["model"]["vocab"]["he"] = json!(he + 10);
    let dir = folder(&tokenizer, None);
    let tokenizer = Tokenizer::from_hf(dir.path(), he as usize + 20).unwrap();
    assert_eq!(tokenizer.vocab_size(), he as usize + 11);
    assert_eq!(
        tokenizer
            .decode(&[he, he + 5, he + 10, he + 19], false)
            .unwrap(),
        "he"
    );
    assert_eq!(tokenizer.token(he), None);
    assert!(tokenizer.decode(&[he + 20], false).is_err());
}

#[test]
fn any_text_comes_back() {
    let dir = folder(&byte_level(), None);
    let tokenizer = from_hf(dir.path());
    let mut random = Random::new(4);
    for _ in 0..200 {
        let text = random.text(60);
        let ids = tokenizer.encode(&text, true).unwrap();
        assert_eq!(tokenizer.decode(&ids, true).unwrap(), text);
    }
}

#[test]
fn a_text_token_may_be_added() {
    let mut tokenizer = byte_level();
    let id = tokenizer["model"]["vocab"].as_object().unwrap().len();
    let added = tokenizer["added_tokens"].as_array_mut().unwrap();
    added.push(
        json!({"id": id, "content": "né", "special": false, "normalized": false,
                      "single_word": false, "lstrip": false, "rstrip": false}),
    );
    let dir = folder(&tokenizer, None);
    let tokenizer = Tokenizer::from_hf(dir.path(), ROWS).unwrap();
    let ids = tokenizer.encode("née", false).unwrap();
    assert_eq!(ids[0] as usize, id);
    assert_eq!(tokenizer.decode(&ids, true).unwrap(), "née");
}
