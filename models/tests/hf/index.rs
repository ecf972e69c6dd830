//! The index of a checkpoint in several files.

use serde_json::{Value, json};

use crate::folder::{Folder, SHARDED};

const INDEX: &str = "model.safetensors.index.json";
const FIRST: &str = "model-00001-of-00002.safetensors";
const SECOND: &str = "model-00002-of-00002.safetensors";
const NORM: &str = "model.norm.weight";
const EMBEDDING: &str = "model.embed_tokens.weight";

fn folder() -> Folder {
    Folder::copy_of(SHARDED)
}

#[track_caller]
fn refused(change: impl FnOnce(&mut Value), file: &str, expected: &str) {
    folder().json(INDEX, change).refused(file, expected);
}

#[test]
fn a_missing_shard_is_named() {
    folder().remove(SECOND).refused(SECOND, "No such file");
    refused(
        |i| i["weight_map"][NORM] = json!("absent.safetensors"),
        "absent.safetensors",
        "No such file",
    );
}

#[test]
fn the_index_and_the_shards_must_agree() {
    let extra = |i: &mut Value| i["weight_map"]["extra"] = json!(FIRST);
    refused(extra, FIRST, "tensor \"extra\" is not here, though ");
    let missing = |i: &mut Value| {
        i["weight_map"].as_object_mut().unwrap().remove(EMBEDDING);
    };
    refused(
        missing,
        INDEX,
        "holds tensor \"model.embed_tokens.weight\", which weight_map does not place there",
    );
    let elsewhere = |i: &mut Value| i["weight_map"][EMBEDDING] = json!(SECOND);
    refused(elsewhere, INDEX, "does not place there");
}

#[test]
fn a_tensor_listed_twice() {
    let text = format!("{{\"weight_map\": {{\"{NORM}\": \"{FIRST}\", \"{NORM}\": \"{SECOND}\"}}}}");
    folder()
        .write(INDEX, text.as_bytes())
        .refused(INDEX, "\"model.norm.weight\" is listed twice");
}

#[test]
fn files_outside_the_directory() {
    for path in [
        "../model-00001-of-00002.safetensors",
        "/etc/passwd",
        "a/b.safetensors",
        "..",
        ".",
        "",
    ] {
        refused(
            |i| i["weight_map"][NORM] = json!(path),
            INDEX,
            "expected the name of a file beside the index",
        );
    }
}

#[test]
fn an_index_of_another_form() {
    for (text, expected) in [
        ("", "EOF"),
        ("[]", "invalid type: sequence, expected an object"),
        ("{}", "weight_map is missing"),
        ("{\"weight_map\": []}", "weight_map: invalid type: sequence"),
        ("{\"weight_map\": {}}", "weight_map is empty"),
        (
            "{\"weight_map\": {\"a\": 3}}",
            "weight_map[\"a\"]: invalid type: integer",
        ),
    ] {
        folder()
            .write(INDEX, text.as_bytes())
            .refused(INDEX, expected);
    }
    let nested = format!("{{\"weight_map\": {}", "[".repeat(1_000_000));
    folder().write(INDEX, nested.as_bytes()).refused(INDEX, "");
}

#[test]
fn a_damaged_shard_is_named() {
    let cut = |file: &mut Vec<u8>| file.truncate(file.len() - 1);
    folder()
        .bytes(SECOND, cut)
        .refused(SECOND, "pass the end of the file");
}
