//! Tokenizers from a GGUF file's `tokenizer.ggml.*` keys.

use std::path::Path;

use tokenizers::AddedToken;

use super::vocabulary::{MAX_TOKEN_BYTES, Spelling, Vocabulary, byte_token, spelt_bytes};
use super::{Affixes, Parts, byte_level, sentencepiece};
use crate::gguf::GgufFile;
use crate::hf::quoted;
use crate::{Error, Result};

pub(super) const TOKENS: &str = "tokenizer.ggml.tokens";

/// What an entry of the vocabulary is for, as numbered in `tokenizer.ggml.token_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A piece of text.
    Normal,
    /// Stands for text outside the vocabulary.
    Unknown,
    /// Structure, such as the end of a turn.
    Control,
    /// Text that is never cut.
    UserDefined,
    /// Padding of the vocabulary.
    Unused,
    /// One byte of text outside the vocabulary.
    Byte,
}

/// The checked vocabulary of a file.
pub(super) struct Tokens<'a> {
    pub(super) file: &'a GgufFile,
    /// In order of their ids.
    pub(super) list: Vec<(&'a str, Kind)>,
}

/// An encoder's parts, whatever the kind of tokenizer.
pub(super) struct Encoder {
    pub(super) tokenizer: tokenizers::Tokenizer,
    pub(super) spelling: Spelling,
    pub(super) space_prefix: bool,
    /// Whether BOS precedes a text where the file does not say.
    pub(super) add_bos: bool,
}

pub(super) fn read(file: &GgufFile, rows: usize) -> Result<Parts> {
    const MODEL: &str = "tokenizer.ggml.model";
    let tokens = Tokens::read(file, rows)?;
    let mut encoder = match file.require::<&str>(MODEL)? {
        "gpt2" => byte_level::encoder(&tokens)?,
        "llama" => sentencepiece::encoder(&tokens)?,
        other => {
            let other = quoted(other);
            let message = format!("{MODEL} is {other}; gpt2 and llama are supported");
            return Err(Error::unsupported(file.path(), message));
        }
    };
    let added = encoder.tokenizer.add_tokens(tokens.added());
    added.map_err(|e| failed(file.path(), e))?;
    Ok(Parts {
        vocabulary: tokens.vocabulary(encoder.spelling),
        affixes: tokens.affixes(encoder.add_bos)?,
        space_prefix: encoder.space_prefix,
        encoder: encoder.tokenizer,
        rows,
    })
}

/// What the `tokenizers` crate says is wrong.
pub(super) fn failed(path: &Path, error: tokenizers::Error) -> Error {
    Error::invalid(path, format!("tokenizer: {error}"))
}

impl<'a> Tokens<'a> {
    fn read(file: &'a GgufFile, rows: usize) -> Result<Self> {
        let texts: Vec<&str> = file.require(TOKENS)?;
        if texts.len() > rows {
            let n = texts.len();
            let message = format!("{TOKENS} has {n} entries, but the embedding has {rows} rows");
            return Err(Error::invalid(file.path(), message));
        }
        let kinds = read_kinds(file, texts.len())?;
        let list: Vec<_> = texts.into_iter().zip(kinds).collect();
        for (id, &(text, kind)) in list.iter().enumerate() {
            check(text, kind)
                .map_err(|what| Error::invalid(file.path(), format!("{TOKENS}[{id}] {what}")))?;
        }
        Ok(Self { file, list })
    }

    /// Ids and texts of all entries of the kinds in `wanted`.
    pub(super) fn of(&self, wanted: &[Kind]) -> impl Iterator<Item = (u32, &'a str)> {
        let entries = (0..).zip(&self.list);
        entries.filter_map(move |(id, &(text, kind))| wanted.contains(&kind).then_some((id, text)))
    }

    /// The encoder's map from text to id.
    pub(super) fn ids(&self) -> Result<tokenizers::models::bpe::Vocab> {
        let mut ids = tokenizers::models::bpe::Vocab::new();
        for (id, &(text, kind)) in (0..).zip(&self.list) {
            if text.is_empty() || kind == Kind::Unused {
                continue;
            }
            if let Some(first) = ids.insert(text.to_owned(), id) {
                let text = quoted(text);
                let message = format!("{TOKENS}[{id}] repeats entry {first}, {text}");
                return Err(Error::invalid(self.file.path(), message));
            }
        }
        Ok(ids)
    }

    /// Entries that are recognised in a text before it is cut.
    fn added(&self) -> Vec<AddedToken> {
        let text = self.of(&[Kind::UserDefined]);
        let text = text.map(|(_, text)| AddedToken::from(text, false).normalized(false));
        let structure = self.of(&[Kind::Control, Kind::Unknown]);
        text.chain(structure.map(|(_, text)| AddedToken::from(text, true)))
            .collect()
    }

    fn vocabulary(&self, spelling: Spelling) -> Vocabulary {
        let mut vocabulary = Vocabulary::default();
        for &(text, kind) in &self.list {
            let bytes = match kind {
                Kind::Normal => spelt_bytes(text, spelling),
                Kind::Byte => byte_token(text).into_iter().collect(),
                Kind::Unused => Vec::new(),
                Kind::Unknown | Kind::Control | Kind::UserDefined => text.as_bytes().to_vec(),
            };
            vocabulary.push(&bytes, matches!(kind, Kind::Control | Kind::Unknown));
        }
        vocabulary
    }

    fn affixes(&self, default_bos: bool) -> Result<Affixes> {
        Ok(Affixes {
            prefix: self.affix("bos", default_bos)?,
            suffix: self.affix("eos", false)?,
        })
    }

    /// The id of `which` (`bos` or `eos`) if it is to be added, in a list.
    fn affix(&self, which: &str, default: bool) -> Result<Vec<u32>> {
        let add = self
            .file
            .get(&format!("tokenizer.ggml.add_{which}_token"))?;
        if !add.unwrap_or(default) {
            return Ok(Vec::new());
        }
        let key = format!("tokenizer.ggml.{which}_token_id");
        let id: u32 = self.file.require(&key)?;
        self.text_of(id, &key)?;
        Ok(vec![id])
    }

    /// The text of the entry that `key` gives the id of.
    pub(super) fn text_of(&self, id: u32, key: &str) -> Result<&'a str> {
        let entry = self.list.get(id as usize);
        entry.map(|(text, _)| *text).ok_or_else(|| {
            let n = self.list.len();
            let message = format!("{key} is {id}, but {TOKENS} has {n} entries");
            Error::invalid(self.file.path(), message)
        })
    }
}

fn read_kinds(file: &GgufFile, n: usize) -> Result<Vec<Kind>> {
    const KEY: &str = "tokenizer.ggml.token_type";
    let Some(numbers) = file.get::<Vec<i32>>(KEY)? else {
        return Ok(vec![Kind::Normal; n]);
    };
    if numbers.len() != n {
        let found = numbers.len();
        let message = format!("{KEY} has {found} entries, {TOKENS} has {n}");
        return Err(Error::invalid(file.path(), message));
    }
    let kinds = numbers.into_iter().enumerate().map(|(id, number)| {
        kind(number).ok_or_else(|| {
            let message = format!("{KEY}[{id}] is {number}, expected 1 to 6");
            Error::invalid(file.path(), message)
        })
    });
    kinds.collect()
}

fn kind(number: i32) -> Option<Kind> {
    Some(match number {
        1 => Kind::Normal,
        2 => Kind::Unknown,
        3 => Kind::Control,
        4 => Kind::UserDefined,
        5 => Kind::Unused,
        6 => Kind::Byte,
        _ => return None,
    })
}

/// Says what is wrong with an entry.
fn check(text: &str, kind: Kind) -> Result<(), String> {
    if text.len() > MAX_TOKEN_BYTES {
        let n = text.len();
        return Err(format!(
            "has {n} bytes, more than the limit of {MAX_TOKEN_BYTES}"
        ));
    }
    if text.contains('\0') {
        return Err(format!("holds a NUL: {}", quoted(text)));
    }
    if kind == Kind::Byte && byte_token(text).is_none() {
        return Err(format!(
            "is {}, expected a byte from <0x00> to <0xFF>",
            quoted(text)
        ));
    }
    Ok(())
}
