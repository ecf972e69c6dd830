//! Tokenizers from `tokenizer.json`.
//!
//! The `tokenizers` crate trusts this file and panics on some contents, so it
//! is checked here first. Of its parts, the crate keeps those that encode; the
//! decoder and the post-processor become this crate's own.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::hf_bpe::{Bpe, check_bpe};
use super::hf_parts::{check_splitting, read_affixes, read_decoding};
use super::vocabulary::{
    MAX_TOKEN_BYTES, Spelling, Vocabulary, byte_token, looks_like_byte, spelt_bytes,
};
use super::{Affixes, Parts};
use crate::hf::{JsonFile, TokenizerConfig, quoted, shown};
use crate::{Error, Result};

/// What an id stands for.
struct Entry<'a> {
    text: &'a str,
    /// In `added_tokens`: taken as it is written, and special or not.
    added: Option<bool>,
}

/// Ids in ascending order; they may have holes.
type Entries<'a> = BTreeMap<u32, Entry<'a>>;

pub(super) fn read(dir: &Path, config: &TokenizerConfig, rows: usize) -> Result<Parts> {
    let mut file = JsonFile::read(dir.join("tokenizer.json"))?;
    check_splitting(&file)?;
    let decoding = read_decoding(&file)?;
    let bpe = check_bpe(&file)?;
    let entries = read_entries(&file, &bpe, rows)?;
    let vocabulary = vocabulary(&file, &entries, decoding.spelling, bpe.byte_fallback)?;
    let mut affixes = read_affixes(&file)?;
    check_affixes(&file, &affixes, &entries)?;
    if affixes == Affixes::default() {
        affixes = configured_affixes(&file, config, &entries)?;
    }
    let added: Vec<(u32, String)> = entries
        .iter()
        .filter(|(_, entry)| entry.added.is_some())
        .map(|(id, entry)| (*id, entry.text.to_owned()))
        .collect();
    let encoder = encoder(&mut file)?;
    check_added(&file, &encoder, &added)?;
    Ok(Parts {
        encoder,
        vocabulary,
        affixes,
        space_prefix: decoding.space_prefix,
        rows,
    })
}

/// The model's vocabulary and the added tokens.
fn read_entries<'a>(file: &'a JsonFile, bpe: &Bpe<'a>, rows: usize) -> Result<Entries<'a>> {
    let mut entries = Entries::new();
    for (text, id) in bpe.vocab {
        let id = check_id(file, id, text, rows)?;
        check_text(file, id, text)?;
        if let Some(other) = entries.insert(id, Entry { text, added: None }) {
            return Err(shared_id(file, id, other.text, text));
        }
    }
    let list = file.get("added_tokens", "a list", Value::as_array)?;
    for token in list.into_iter().flatten() {
        let (text, special) = added_token(token).ok_or_else(|| {
            let token = shown(token);
            Error::invalid(&file.path, format!("added token {token} is malformed"))
        })?;
        let id = check_id(file, &token["id"], text, rows)?;
        check_text(file, id, text)?;
        let added = Some(special);
        match entries.insert(id, Entry { text, added }) {
            Some(other) if other.text != text => {
                return Err(shared_id(file, id, other.text, text));
            }
            _ => {}
        }
    }
    Ok(entries)
}

fn shared_id(file: &JsonFile, id: u32, one: &str, other: &str) -> Error {
    let (one, other) = (quoted(one), quoted(other));
    Error::invalid(&file.path, format!("id {id} is both {one} and {other}"))
}

fn added_token(token: &Value) -> Option<(&str, bool)> {
    Some((
        token.get("content")?.as_str()?,
        token.get("special")?.as_bool()?,
    ))
}

fn check_id(file: &JsonFile, id: &Value, text: &str, rows: usize) -> Result<u32> {
    let number = id.as_u64().and_then(|id| u32::try_from(id).ok());
    number.filter(|&id| (id as usize) < rows).ok_or_else(|| {
        let (text, id) = (quoted(text), shown(id));
        let message = format!("token {text} has id {id}, but the embedding has {rows} rows");
        Error::invalid(&file.path, message)
    })
}

fn check_text(file: &JsonFile, id: u32, text: &str) -> Result<()> {
    if text.len() > MAX_TOKEN_BYTES {
        let n = text.len();
        let message = format!("token {id} has {n} bytes, more than the limit of {MAX_TOKEN_BYTES}");
        return Err(Error::invalid(&file.path, message));
    }
    if text.contains('\0') {
        let message = format!("token {id} holds a NUL: {}", quoted(text));
        return Err(Error::invalid(&file.path, message));
    }
    Ok(())
}

fn vocabulary(
    file: &JsonFile,
    entries: &Entries<'_>,
    spelling: Spelling,
    byte_fallback: bool,
) -> Result<Vocabulary> {
    let mut vocabulary = Vocabulary::default();
    for (&id, entry) in entries {
        while vocabulary.len() < id as usize {
            vocabulary.push(b"", false);
        }
        let bytes = match entry.added {
            Some(_) => entry.text.as_bytes().to_vec(),
            None if byte_fallback && looks_like_byte(entry.text) => {
                let byte = byte_token(entry.text).ok_or_else(|| {
                    let text = quoted(entry.text);
                    let message =
                        format!("token {id} is {text}, expected a byte from <0x00> to <0xFF>");
                    Error::invalid(&file.path, message)
                })?;
                vec![byte]
            }
            None => spelt_bytes(entry.text, spelling),
        };
        vocabulary.push(&bytes, entry.added == Some(true));
    }
    Ok(vocabulary)
}

fn check_affixes(file: &JsonFile, affixes: &Affixes, entries: &Entries<'_>) -> Result<()> {
    let mut ids = affixes.prefix.iter().chain(&affixes.suffix);
    match ids.find(|id| !entries.contains_key(id)) {
        Some(id) => {
            let message = format!("post_processor adds id {id}, which is no token");
            Err(Error::invalid(&file.path, message))
        }
        None => Ok(()),
    }
}

/// What `tokenizer_config.json` asks for; `tokenizer.json` has said nothing.
fn configured_affixes(
    file: &JsonFile,
    config: &TokenizerConfig,
    entries: &Entries<'_>,
) -> Result<Affixes> {
    let ids = |add: Option<bool>, token: &Option<String>, name: &str| {
        if add != Some(true) {
            return Ok(Vec::new());
        }
        let text = token.as_deref();
        let found = entries.iter().find(|(_, entry)| Some(entry.text) == text);
        found.map(|(id, _)| vec![*id]).ok_or_else(|| {
            let message = format!("tokenizer_config.json adds {name} {text:?}, which is no token");
            Error::invalid(&file.path, message)
        })
    };
    Ok(Affixes {
        prefix: ids(config.add_bos_token, &config.bos_token, "bos_token")?,
        suffix: ids(config.add_eos_token, &config.eos_token, "eos_token")?,
    })
}

/// Lets the crate build its encoder from what is left of the file.
fn encoder(file: &mut JsonFile) -> Result<tokenizers::Tokenizer> {
    let mut object = std::mem::take(&mut file.object);
    for unused in ["truncation", "padding", "post_processor", "decoder"] {
        object.remove(unused);
    }
    serde_json::from_value(Value::Object(object))
        .map_err(|e| Error::invalid(&file.path, e.to_string()))
}

/// The crate numbers added tokens itself, whatever the file says.
fn check_added(
    file: &JsonFile,
    encoder: &tokenizers::Tokenizer,
    added: &[(u32, String)],
) -> Result<()> {
    for (id, text) in added {
        let got = encoder.token_to_id(text);
        if !text.is_empty() && got != Some(*id) {
            let text = quoted(text);
            let message = format!(
                "added token {text} has id {id}, expected {got:?}: its own in the vocabulary, or the next after it"
            );
            return Err(Error::invalid(&file.path, message));
        }
    }
    Ok(())
}
