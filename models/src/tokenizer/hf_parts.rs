//! The parts of `tokenizer.json` around its model.

use serde_json::Value;

use super::Affixes;
use super::vocabulary::Spelling;
use crate::hf::{JsonFile, quoted, shown};
use crate::{Error, Result};

/// How the decoder turns tokens into text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decoding {
    pub(super) spelling: Spelling,
    pub(super) space_prefix: bool,
}

/// Refuses normalisers and pre-tokenizers that decoder-only models do not use.
pub(super) fn check_splitting(file: &JsonFile) -> Result<()> {
    const NORMALIZERS: [&str; 6] = ["NFC", "NFD", "NFKC", "NFKD", "Prepend", "Replace"];
    const SPLITTERS: [&str; 5] = ["ByteLevel", "Digits", "Metaspace", "Punctuation", "Split"];
    for part in parts(file, "normalizer", "normalizers")? {
        one_of(file, "normalizer", part, &NORMALIZERS)?;
    }
    for part in parts(file, "pre_tokenizer", "pretokenizers")? {
        one_of(file, "pre_tokenizer", part, &SPLITTERS)?;
    }
    Ok(())
}

/// Reads the decoder, which must be GPT-2's or SentencePiece's.
pub(super) fn read_decoding(file: &JsonFile) -> Result<Decoding> {
    const KNOWN: [&str; 6] = [
        "ByteLevel",
        "Replace",
        "ByteFallback",
        "Fuse",
        "Strip",
        "Metaspace",
    ];
    let mut spelling = None;
    let mut space_prefix = false;
    for part in parts(file, "decoder", "decoders")? {
        let says = |key: &str, value: &str| part.get(key).is_some_and(|v| v == value);
        match one_of(file, "decoder", part, &KNOWN)? {
            "ByteLevel" => spelling = Some(Spelling::ByteLevel),
            "Metaspace" => {
                spelling = Some(Spelling::SentencePiece);
                space_prefix = !says("prepend_scheme", "never");
            }
            "Replace" if part["pattern"]["String"] == "▁" && says("content", " ") => {
                spelling = Some(Spelling::SentencePiece);
            }
            "Replace" => {
                let message = format!("decoder {} does not replace ▁ by a space", shown(part));
                return Err(Error::unsupported(&file.path, message));
            }
            "Strip" => space_prefix = says("content", " ") && part["start"] != 0,
            _ => {}
        }
    }
    let spelling = spelling.ok_or_else(|| {
        let message =
            "decoder is missing; ByteLevel, Metaspace and sequences with Replace are supported";
        Error::unsupported(&file.path, message)
    })?;
    Ok(Decoding {
        spelling,
        space_prefix,
    })
}

/// Reads which ids the post-processor puts around a text.
pub(super) fn read_affixes(file: &JsonFile) -> Result<Affixes> {
    let mut affixes = Affixes::default();
    for part in parts(file, "post_processor", "processors")? {
        let kind = one_of(
            file,
            "post_processor",
            part,
            &["ByteLevel", "TemplateProcessing"],
        )?;
        if kind == "TemplateProcessing" {
            let outer = template(part).ok_or_else(|| {
                let message = format!("post_processor {} is not ids around one text", shown(part));
                Error::invalid(&file.path, message)
            })?;
            affixes.prefix.splice(0..0, outer.prefix);
            affixes.suffix.extend(outer.suffix);
        }
    }
    Ok(affixes)
}

/// `single` lists special tokens by name around sequence A; `special_tokens` has their ids.
fn template(part: &Value) -> Option<Affixes> {
    let mut affixes = Affixes::default();
    let mut after_text = false;
    for piece in part.get("single")?.as_array()? {
        if let Some(sequence) = piece.get("Sequence") {
            if after_text || sequence.get("id")? != "A" {
                return None;
            }
            after_text = true;
            continue;
        }
        let name = piece.get("SpecialToken")?.get("id")?.as_str()?;
        for id in part
            .get("special_tokens")?
            .get(name)?
            .get("ids")?
            .as_array()?
        {
            let id = u32::try_from(id.as_u64()?).ok()?;
            match after_text {
                false => affixes.prefix.push(id),
                true => affixes.suffix.push(id),
            }
        }
    }
    after_text.then_some(affixes)
}

/// The part at `key`, or those of the sequence there, whose list is called `list`.
fn parts<'a>(file: &'a JsonFile, key: &str, list: &str) -> Result<Vec<&'a Value>> {
    let Some(part) = file.get(key, "an object", |v| v.is_object().then_some(v))? else {
        return Ok(Vec::new());
    };
    if part.get("type").is_none_or(|kind| kind != "Sequence") {
        return Ok(vec![part]);
    }
    let members = part.get(list).and_then(Value::as_array);
    members.map(|m| m.iter().collect()).ok_or_else(|| {
        let message = format!("{key} is a sequence, but {key}.{list} is not a list");
        Error::invalid(&file.path, message)
    })
}

/// The type of `part`, which must be among `known`.
fn one_of<'a>(file: &JsonFile, key: &str, part: &'a Value, known: &[&str]) -> Result<&'a str> {
    let kind = part.get("type").and_then(Value::as_str).unwrap_or("none");
    if known.contains(&kind) {
        return Ok(kind);
    }
    let (kind, known) = (quoted(kind), known.join(", "));
    let message = format!("{key} has type {kind}; supported types are {known}");
    Err(Error::unsupported(&file.path, message))
}
