//! A model opened from disk.

use std::path::Path;

use crate::chat::ChatTemplate;
use crate::config::ModelConfig;
use crate::tokenizer::Tokenizer;
use crate::weights::ModelWeights;
use crate::{Error, GenerationConfig, Result};

/// Everything needed to run a model, as its files say it.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Shape and constants.
    pub config: ModelConfig,
    /// Mapped tensors, checked against `config`.
    pub weights: ModelWeights,
    /// Text to token ids and back.
    pub tokenizer: Tokenizer,
    /// How a conversation becomes a prompt, if the model has a template.
    pub chat_template: Option<ChatTemplate>,
    /// Stop ids and sampling defaults.
    pub generation: GenerationConfig,
    /// Bytes of all bound tensors together.
    pub weight_bytes: u64,
    /// Which kind of files `path` was.
    pub format: Format,
}

/// The kinds of checkpoint that can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A Hugging Face directory: config.json, tokenizer.json, safetensors.
    HuggingFace,
    /// One GGUF file.
    Gguf,
}

impl Checkpoint {
    /// Opens a Hugging Face directory or a GGUF file.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn open(path: &Path) -> Result<Self> {
        Err(Error::unsupported(path, "not a checkpoint"))
    }
}
