//! SentencePiece BPE (Llama 1 and 2, Mistral) from GGUF metadata.

use std::collections::HashMap;

use tokenizers::models::bpe::{BPE, Merges};
use tokenizers::normalizers::{NormalizerWrapper, Prepend, Replace, Sequence};

use super::gguf::{Encoder, Kind, TOKENS, Tokens, failed};
use super::vocabulary::Spelling;
use crate::{Error, Result};

const SCORES: &str = "tokenizer.ggml.scores";
const UNKNOWN: &str = "tokenizer.ggml.unknown_token_id";

/// The longest piece, in bytes. Every cut of a piece is tried as a merge, so
/// the work grows with the square; real pieces have at most a few dozen bytes.
const MAX_PIECE_BYTES: usize = 512;

pub(super) fn encoder(tokens: &Tokens<'_>) -> Result<Encoder> {
    let path = tokens.file.path();
    let mut model = BPE::builder()
        .vocab_and_merges(tokens.ids()?, merges(tokens)?)
        .byte_fallback(tokens.of(&[Kind::Byte]).next().is_some())
        .fuse_unk(true);
    if let Some(unknown) = unknown(tokens)? {
        model = model.unk_token(unknown.to_owned());
    }
    let space_prefix = tokens.file.get("tokenizer.ggml.add_space_prefix")?;
    let space_prefix = space_prefix.unwrap_or(true);
    let model = model.build().map_err(|e| failed(path, e))?;
    let mut tokenizer = tokenizers::Tokenizer::new(model);
    normalizer(space_prefix)
        .and_then(|normalizer| tokenizer.with_normalizer(Some(normalizer)).map(|_| ()))
        .map_err(|e| failed(path, e))?;
    Ok(Encoder {
        tokenizer,
        spelling: Spelling::SentencePiece,
        space_prefix,
        add_bos: true,
    })
}

/// Writes spaces as `▁`, with one before the text if `space_prefix`.
fn normalizer(space_prefix: bool) -> tokenizers::Result<NormalizerWrapper> {
    let mut steps: Vec<NormalizerWrapper> = Vec::new();
    if space_prefix {
        steps.push(Prepend::new("▁".to_owned()).into());
    }
    steps.push(Replace::new(" ", "▁")?.into());
    Ok(Sequence::new(steps).into())
}

/// The token for text that has neither pieces nor byte tokens.
fn unknown<'a>(tokens: &Tokens<'a>) -> Result<Option<&'a str>> {
    match tokens.file.get(UNKNOWN)? {
        Some(id) => tokens.text_of(id, UNKNOWN).map(Some),
        None => Ok(tokens.of(&[Kind::Unknown]).next().map(|(_, text)| text)),
    }
}

/// A way to make a piece of two others.
struct Cut<'a> {
    score: f32,
    left: (u32, &'a str),
    right: (u32, &'a str),
}

/// The merges that the scores imply: SentencePiece joins the pair whose joint
/// piece scores highest. Cuts of one piece, which SentencePiece takes from left
/// to right, are ranked by the ids of their halves, as converted checkpoints do.
fn merges(tokens: &Tokens<'_>) -> Result<Merges> {
    let scores = scores(tokens)?;
    let pieces: HashMap<&str, u32> = tokens.of(&[Kind::Normal]).map(|(id, t)| (t, id)).collect();
    let mut cuts = Vec::new();
    for (id, piece) in tokens.of(&[Kind::Normal]) {
        if piece.len() > MAX_PIECE_BYTES {
            let n = piece.len();
            let message = format!("{TOKENS}[{id}] has {n} bytes, more than {MAX_PIECE_BYTES}");
            return Err(Error::invalid(tokens.file.path(), message));
        }
        let halves = piece
            .char_indices()
            .skip(1)
            .map(|(at, _)| piece.split_at(at));
        cuts.extend(halves.filter_map(|(left, right)| {
            Some(Cut {
                score: scores[id as usize],
                left: (*pieces.get(left)?, left),
                right: (*pieces.get(right)?, right),
            })
        }));
    }
    cuts.sort_by(|a, b| {
        let by_score = b.score.total_cmp(&a.score);
        by_score.then_with(|| (a.left.0, a.right.0).cmp(&(b.left.0, b.right.0)))
    });
    let pairs = cuts
        .iter()
        .map(|cut| (cut.left.1.to_owned(), cut.right.1.to_owned()));
    Ok(pairs.collect())
}

/// One finite score per token.
fn scores(tokens: &Tokens<'_>) -> Result<Vec<f32>> {
    let path = tokens.file.path();
    let scores: Vec<f32> = tokens.file.require(SCORES)?;
    if scores.len() != tokens.list.len() {
        let (found, n) = (scores.len(), tokens.list.len());
        let message = format!("{SCORES} has {found} entries, {TOKENS} has {n}");
        return Err(Error::invalid(path, message));
    }
    match scores.iter().position(|score| !score.is_finite()) {
        Some(id) => {
            let message = format!("{SCORES}[{id}] is {}, expected a finite number", scores[id]);
            Err(Error::invalid(path, message))
        }
        None => Ok(scores),
    }
}
