//! Text to token ids and back.

use crate::{Error, Result};

/// A tokenizer; clones share one table.
#[derive(Clone, Debug)]
pub struct Tokenizer {}

/// Decodes a growing sequence of ids into valid UTF-8.
#[derive(Clone, Debug)]
pub struct TextStream {}

impl Tokenizer {
    /// Token ids of `text`; with `add_special`, also the BOS or EOS that the checkpoint asks for.
    pub fn encode(&self, _text: &str, _add_special: bool) -> Result<Vec<u32>> {
        Err(Error::Tokenizer("no tokenizer".into()))
    }

    /// The text of `ids`.
    pub fn decode(&self, _ids: &[u32], _skip_special: bool) -> Result<String> {
        Err(Error::Tokenizer("no tokenizer".into()))
    }

    /// One more than the highest id.
    pub fn vocab_size(&self) -> usize {
        0
    }

    /// The vocabulary's entry for `id`.
    pub fn token(&self, _id: u32) -> Option<String> {
        None
    }

    /// The id of a vocabulary entry.
    pub fn id(&self, _token: &str) -> Option<u32> {
        None
    }

    /// Whether `id` marks structure rather than text.
    pub fn is_special(&self, _id: u32) -> bool {
        false
    }

    /// A decoder for ids that arrive one by one.
    pub fn stream(&self) -> TextStream {
        TextStream {}
    }
}

impl TextStream {
    /// Takes the next id, returns the text it completes.
    pub fn push(&mut self, _id: u32) -> Result<String> {
        Err(Error::Tokenizer("no tokenizer".into()))
    }

    /// Whatever was still incomplete.
    pub fn finish(self) -> String {
        String::new()
    }
}
