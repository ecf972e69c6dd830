//! Stop ids and sampling defaults.

use kcache_models::GenerationConfig;
use serde_json::{Value, json};

use crate::folder::{Folder, SINGLE};

const FILE: &str = "generation_config.json";

fn with(generation: Option<Value>, config_eos: Value) -> Folder {
    let folder = Folder::copy_of(SINGLE).json("config.json", |c| c["eos_token_id"] = config_eos);
    match generation {
        Some(generation) => folder.write(FILE, generation.to_string().as_bytes()),
        None => folder.remove(FILE),
    }
}

fn read(generation: Option<Value>, config_eos: Value) -> GenerationConfig {
    let checkpoint = with(generation, config_eos).open();
    checkpoint.unwrap_or_else(|e| panic!("{e}")).generation
}

#[test]
fn every_default_is_read() {
    let file = json!({"eos_token_id": [2, 0], "bos_token_id": 1, "do_sample": true, "temperature": 0.5,
                      "top_k": 20, "top_p": 0.75, "min_p": 0.25, "repetition_penalty": 1.5,
                      "transformers_version": "4.0", "max_length": 100});
    let expected = GenerationConfig {
        eos_token_ids: vec![2, 0],
        bos_token_id: Some(1),
        do_sample: Some(true),
        temperature: Some(0.5),
        top_k: Some(20),
        top_p: Some(0.75),
        min_p: Some(0.25),
        repetition_penalty: Some(1.5),
    };
    assert_eq!(read(Some(file), json!(2)), expected);
}

#[test]
fn stop_ids_are_a_list_a_number_or_missing() {
    let eos = |value: Value| read(Some(json!({"eos_token_id": value})), json!(1)).eos_token_ids;
    assert_eq!(eos(json!([0, 2])), [0, 2]);
    assert_eq!(eos(json!(2)), [2]);
    assert_eq!(eos(json!(null)), [1]);
    assert_eq!(read(None, json!([1, 2])).eos_token_ids, [1, 2]);
}

/// `eos_token` of tokenizer_config.json is `<|im_end|>`, id 2.
#[test]
fn the_tokenizer_knows_where_text_ends() {
    assert_eq!(read(None, json!(null)).eos_token_ids, [2]);
    let none = with(None, json!(null)).remove("tokenizer_config.json");
    assert!(none.open().unwrap().generation.eos_token_ids.is_empty());
}

#[test]
fn values_out_of_bounds_are_named() {
    for (key, value, expected) in [
        (
            "temperature",
            json!(-1),
            "temperature is -1, expected 0 or more",
        ),
        ("temperature", json!("hot"), "temperature is \"hot\""),
        ("temperature", json!(1e300), "temperature is 1e+300"),
        (
            "top_p",
            json!(1.5),
            "top_p is 1.5, expected a number from 0 to 1",
        ),
        ("min_p", json!(-0.1), "min_p is -0.1"),
        (
            "top_k",
            json!(-1),
            "top_k is -1, expected an integer, 0 or more",
        ),
        ("top_k", json!(1.5), "top_k is 1.5"),
        (
            "repetition_penalty",
            json!(0),
            "repetition_penalty is 0, expected a number above 0",
        ),
        (
            "do_sample",
            json!(1),
            "do_sample is 1, expected true or false",
        ),
        (
            "eos_token_id",
            json!(-1),
            "eos_token_id is -1, expected a token id",
        ),
        ("eos_token_id", json!([1, "2"]), "eos_token_id is [1,\"2\"]"),
        (
            "eos_token_id",
            json!(4_294_967_296_u64),
            "eos_token_id is 4294967296",
        ),
        ("bos_token_id", json!([1]), "bos_token_id is [1]"),
    ] {
        with(Some(json!({key: value})), json!(2)).refused(FILE, expected);
    }
    let folder = Folder::copy_of(SINGLE).write(FILE, b"{\"temperature\": 1e400}");
    folder.refused(FILE, "number out of range");
}

#[test]
fn ids_outside_the_embedding() {
    for key in ["eos_token_id", "bos_token_id"] {
        let expected = format!("{key} is 320, but the embedding has 320 rows");
        with(Some(json!({key: 320})), json!(2)).refused("", &expected);
    }
    with(None, json!(320)).refused("", "eos_token_id is 320");
    with(None, json!("end")).refused("config.json", "eos_token_id is \"end\"");
}
