//! Byte-level BPE (GPT-2) from GGUF metadata.

use tokenizers::models::bpe::{BPE, Merges, Vocab};

use super::gguf::{Encoder, Tokens, failed};
use super::pre_tokenizer;
use super::vocabulary::Spelling;
use crate::hf::quoted;
use crate::{Error, Result};

const MERGES: &str = "tokenizer.ggml.merges";
const PRE: &str = "tokenizer.ggml.pre";

pub(super) fn encoder(tokens: &Tokens<'_>) -> Result<Encoder> {
    let path = tokens.file.path();
    let pre = tokens.file.get::<&str>(PRE)?.unwrap_or("default");
    let pre = pre_tokenizer::by_name(pre).ok_or_else(|| {
        let known = pre_tokenizer::names();
        let message = format!(
            "{PRE} is {}; supported pre-tokenizers are {known}",
            quoted(pre)
        );
        Error::unsupported(path, message)
    })?;
    let pre = pre.map_err(|e| failed(path, e))?;
    let ids = tokens.ids()?;
    let merges = merges(tokens, &ids)?;
    let model = BPE::builder()
        .vocab_and_merges(ids, merges)
        .ignore_merges(pre.ignore_merges)
        .build();
    let mut tokenizer = tokenizers::Tokenizer::new(model.map_err(|e| failed(path, e))?);
    tokenizer
        .with_normalizer(pre.normalizer)
        .map_err(|e| failed(path, e))?
        .with_pre_tokenizer(Some(pre.splitter));
    Ok(Encoder {
        tokenizer,
        spelling: Spelling::ByteLevel,
        space_prefix: false,
        add_bos: pre.add_bos,
    })
}

/// Pairs in order of their rank. The halves are parted by the first space that
/// is not a half's first character.
fn merges(tokens: &Tokens<'_>, ids: &Vocab) -> Result<Merges> {
    let list: Vec<&str> = tokens.file.require(MERGES)?;
    let pairs = list.iter().enumerate().map(|(rank, merge)| {
        let wrong = |what: &str| {
            let message = format!("{MERGES}[{rank}], {}, {what}", quoted(merge));
            Error::invalid(tokens.file.path(), message)
        };
        let pair = split(merge).ok_or_else(|| wrong("is not two tokens parted by a space"))?;
        let known = |token: &str| ids.contains_key(token);
        let (left, right) = pair;
        if known(left) && known(right) && known(&[left, right].concat()) {
            Ok((left.to_owned(), right.to_owned()))
        } else {
            Err(wrong("is not made of tokens or makes none"))
        }
    });
    pairs.collect()
}

fn split(merge: &str) -> Option<(&str, &str)> {
    let first = merge.chars().next()?.len_utf8();
    let space = first + merge[first..].find(' ')?;
    let (left, right) = (&merge[..space], &merge[space + 1..]);
    (!right.is_empty()).then_some((left, right))
}
