//! The `model` of `tokenizer.json`.

use serde_json::{Map, Value};

use crate::hf::{JsonFile, shown};
use crate::{Error, Result};

/// A checked BPE model.
pub(super) struct Bpe<'a> {
    /// Token to id; the ids are not checked.
    pub(super) vocab: &'a Map<String, Value>,
    pub(super) byte_fallback: bool,
}

pub(super) fn check_bpe(file: &JsonFile) -> Result<Bpe<'_>> {
    let invalid = |message: &str| Error::invalid(&file.path, message);
    let model = file.get("model", "an object", Value::as_object)?;
    let model = model.ok_or_else(|| invalid("model is missing"))?;
    check_kind(file, model)?;
    let vocab = model.get("vocab").and_then(Value::as_object);
    let vocab = vocab.ok_or_else(|| invalid("model.vocab is not an object"))?;
    let merges = model.get("merges").and_then(Value::as_array);
    let merges = merges.ok_or_else(|| invalid("model.merges is not a list"))?;
    for (rank, merge) in merges.iter().enumerate() {
        check_merge(vocab, merge)
            .map_err(|what| invalid(&format!("model.merges[{rank}], {}, {what}", shown(merge))))?;
    }
    Ok(Bpe {
        vocab,
        byte_fallback: model.get("byte_fallback") == Some(&Value::Bool(true)),
    })
}

/// Old files leave out the type of a BPE model.
fn check_kind(file: &JsonFile, model: &Map<String, Value>) -> Result<()> {
    match model.get("type").unwrap_or(&Value::Null) {
        Value::Null if model.contains_key("merges") => {}
        Value::String(kind) if kind == "BPE" => {}
        other => {
            let message = format!("model.type is {}; only BPE is supported", shown(other));
            return Err(Error::unsupported(&file.path, message));
        }
    }
    // Text would not come back out as it went in.
    for key in ["continuing_subword_prefix", "end_of_word_suffix", "dropout"] {
        let value = model.get(key).unwrap_or(&Value::Null);
        if !(value.is_null() || value == "" || *value == 0.0) {
            let message = format!("model.{key} is {}, which is not supported", shown(value));
            return Err(Error::unsupported(&file.path, message));
        }
    }
    Ok(())
}

/// The crate copies both halves into a buffer as long as the longest token.
fn check_merge(vocab: &Map<String, Value>, merge: &Value) -> Result<(), &'static str> {
    let (left, right) = halves(merge).ok_or("is not a pair of tokens")?;
    let known = |token: &str| vocab.contains_key(token);
    if known(left) && known(right) && known(&[left, right].concat()) {
        Ok(())
    } else {
        Err("is not made of tokens or makes none")
    }
}

/// `"a b"` or `["a", "b"]`.
fn halves(merge: &Value) -> Option<(&str, &str)> {
    match merge {
        Value::String(pair) => pair.split_once(' '),
        Value::Array(pair) => match pair.as_slice() {
            [left, right] => Some((left.as_str()?, right.as_str()?)),
            _ => None,
        },
        _ => None,
    }
}
