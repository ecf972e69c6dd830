//! Text to token ids and back.
//!
//! The `tokenizers` crate encodes. Decoding is this crate's own table of each
//! id's bytes, so that streamed text costs the same for every token and never
//! holds back more than the start of one character.

mod byte_level;
mod bytes;
mod gguf;
mod hf;
mod hf_bpe;
mod hf_parts;
mod pre_tokenizer;
mod sentencepiece;
mod stream;
mod vocabulary;

use std::path::Path;
use std::sync::Arc;

use crate::gguf::GgufFile;
use crate::hf::TokenizerConfig;
use crate::{Error, Result};

pub use stream::TextStream;
use vocabulary::Vocabulary;

/// The longest run of blanks in a text. The regex engine gives up silently on
/// runs of a million, and would leave the rest of the text uncut.
const MAX_BLANKS: usize = 500_000;

/// A checkpoint's tokenizer. Clones share one copy and may be used by several threads.
#[derive(Clone)]
pub struct Tokenizer(Arc<Parts>);

struct Parts {
    encoder: tokenizers::Tokenizer,
    vocabulary: Vocabulary,
    /// Ids that `add_special` puts before and after the text.
    affixes: Affixes,
    /// Whether the encoder puts a space before the text, which decoding takes away again.
    space_prefix: bool,
    /// Rows of the model's embedding: ids from here on have no meaning to it.
    rows: usize,
}

/// Ids around a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Affixes {
    prefix: Vec<u32>,
    suffix: Vec<u32>,
}

impl Tokenizer {
    /// Reads `tokenizer.json` and, where present, `tokenizer_config.json` of a
    /// Hugging Face directory, for a model whose embedding has `rows` rows.
    ///
    /// # Errors
    /// [`Error::Io`] if `tokenizer.json` cannot be read, [`Error::Unsupported`]
    /// for anything but BPE with byte-level or SentencePiece-style decoding, and
    /// [`Error::Invalid`] for contents that contradict each other or `rows`.
    pub fn from_hf(dir: &Path, rows: usize) -> Result<Self> {
        Self::from_hf_with(dir, &TokenizerConfig::read(dir)?, rows)
    }

    /// Like [`Tokenizer::from_hf`], with `tokenizer_config.json` already read.
    pub(crate) fn from_hf_with(dir: &Path, config: &TokenizerConfig, rows: usize) -> Result<Self> {
        hf::read(dir, config, rows).map(Self::new)
    }

    /// Builds the tokenizer that a GGUF file's `tokenizer.ggml.*` keys describe,
    /// for a model whose embedding has `rows` rows.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for tokenizer models other than `gpt2` and `llama`
    /// and for unknown pre-tokenizers, [`Error::Invalid`] naming the key otherwise.
    pub fn from_gguf(file: &GgufFile, rows: usize) -> Result<Self> {
        gguf::read(file, rows).map(Self::new)
    }

    /// A tokenizer of single bytes, for a model without a text of its own whose
    /// embedding has `rows` rows.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] for fewer than 256 rows.
    pub fn of_bytes(rows: usize) -> Result<Self> {
        bytes::parts(rows).map(Self::new)
    }

    fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Token ids of `text`, in which special tokens written out are recognised.
    ///
    /// With `add_special` the ids begin with BOS or end with EOS if the
    /// checkpoint says so; a prompt from a chat template holds its own, so it
    /// wants `false`. Bytes that the vocabulary cannot express are left out, as
    /// in the reference implementations.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the encoder fails, or for 500,000 bytes of blanks in a row.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>> {
        let blanks = text.split(|c: char| !c.is_whitespace()).map(str::len).max();
        if let Some(n) = blanks.filter(|n| *n > MAX_BLANKS) {
            let message = format!("{n} bytes of blanks in a row, more than {MAX_BLANKS}");
            return Err(Error::Tokenizer(message));
        }
        let encoding = self.0.encoder.encode_fast(text, false);
        let encoding = encoding.map_err(|e| Error::Tokenizer(e.to_string()))?;
        let ids = encoding.get_ids();
        if !add_special {
            return Ok(ids.to_vec());
        }
        let Affixes { prefix, suffix } = &self.0.affixes;
        Ok([prefix, ids, suffix].concat())
    }

    /// The text of `ids`; bytes that are not UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// As [`TextStream::push`].
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        let mut stream = TextStream::new(self.clone(), skip_special, self.0.space_prefix);
        let mut text = String::new();
        for &id in ids {
            text += &stream.push(id)?;
        }
        text += &stream.finish();
        Ok(text)
    }

    /// A decoder for ids that arrive one by one. Its pieces together are what
    /// [`Tokenizer::decode`] returns with `skip_special`.
    pub fn stream(&self) -> TextStream {
        TextStream::new(self.clone(), true, self.0.space_prefix)
    }

    /// Like [`Tokenizer::stream`], for ids that continue a text shown before
    /// them: a space at the front separates words and is kept.
    pub fn continuation(&self) -> TextStream {
        TextStream::new(self.clone(), true, false)
    }

    /// One more than the highest id of the vocabulary.
    pub fn vocab_size(&self) -> usize {
        self.0.vocabulary.len()
    }

    /// The vocabulary's entry for `id`, spelt as the checkpoint spells it.
    pub fn token(&self, id: u32) -> Option<String> {
        self.0.encoder.id_to_token(id)
    }

    /// The id of a vocabulary entry.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.0.encoder.token_to_id(token)
    }

    /// Whether `id` marks structure, such as the end of a turn, rather than text.
    pub fn is_special(&self, id: u32) -> bool {
        self.0.vocabulary.is_special(id)
    }

    /// The bytes of `id`; empty for ids of the embedding that stand for no token.
    fn bytes(&self, id: u32) -> Result<&[u8]> {
        if id as usize >= self.0.rows {
            let message = format!("id {id} is outside the vocabulary of {}", self.0.rows);
            return Err(Error::Tokenizer(message));
        }
        Ok(self.0.vocabulary.bytes(id))
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer")
            .field("vocab_size", &self.vocab_size())
            .field("affixes", &self.0.affixes)
            .finish_non_exhaustive()
    }
}
