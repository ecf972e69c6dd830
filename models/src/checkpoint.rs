//! A model opened from disk.

use std::fs;
use std::path::Path;

use crate::arch;
use crate::chat::ChatTemplate;
use crate::config::ModelConfig;
use crate::gguf::GgufFile;
use crate::hf::{JsonFile, TokenizerConfig, read_template};
use crate::map::Reading;
use crate::safetensors::Safetensors;
use crate::tokenizer::Tokenizer;
use crate::weights::{ModelWeights, WeightSizes};
use crate::{Error, GenerationConfig, Result};

/// Everything needed to run a model, as its files say it.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Shape and constants.
    pub config: ModelConfig,
    /// Tensors, checked against `config`.
    pub weights: ModelWeights,
    /// Text to token ids and back.
    pub tokenizer: Tokenizer,
    /// How a conversation becomes a prompt, if the model has a template.
    pub chat_template: Option<ChatTemplate>,
    /// Stop ids and sampling defaults.
    pub generation: GenerationConfig,
    /// Which kind of files the checkpoint is.
    pub format: Format,
    /// Whether the weights are mapped or copied.
    pub reading: Reading,
}

/// The kinds of checkpoint that can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A directory with `config.json`, `tokenizer.json` and safetensors.
    HuggingFace,
    /// One GGUF file.
    Gguf,
}

impl Checkpoint {
    /// Opens a Hugging Face directory or a GGUF file.
    ///
    /// Weights are mapped, not read, so this is quick, and the files must not
    /// change while the checkpoint or a clone of one of its tensors is alive.
    ///
    /// # Errors
    /// Names the file and what is wrong with it: missing or damaged files,
    /// tensors and tokens that contradict the configuration, and architectures,
    /// types or tokenizers that are not supported.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_by(path, Reading::Mapped)
    }

    /// As [`Checkpoint::open`], with the weights mapped or copied; copies are
    /// safe from what becomes of the files.
    ///
    /// # Errors
    /// As [`Checkpoint::open`], and for a copy above its limit.
    pub fn open_by(path: &Path, reading: Reading) -> Result<Self> {
        let metadata = fs::metadata(path).map_err(|e| Error::io(path, e))?;
        if metadata.is_dir() {
            return Self::open_hf(path, reading);
        }
        if path.extension().is_some_and(|e| e == "safetensors") {
            let message = "one file of a checkpoint: give the directory that also holds config.json and tokenizer.json";
            return Err(Error::unsupported(path, message));
        }
        Self::open_gguf(path, reading)
    }

    /// How much there is of the weights, and whether it takes memory already.
    pub fn weight_sizes(&self) -> WeightSizes {
        WeightSizes {
            copied: self.reading != Reading::Mapped,
            ..self.weights.sizes()
        }
    }

    fn open_hf(dir: &Path, reading: Reading) -> Result<Self> {
        let file = JsonFile::read(dir.join("config.json"))?;
        let config = arch::config_from_hf(&file.path, &file.object)?;
        let weights = arch::bind(&config, &Safetensors::open(dir, reading)?)?;
        let tokens = TokenizerConfig::read(dir)?;
        let tokenizer = Tokenizer::from_hf_with(dir, &tokens, config.vocab_size)?;
        let mut generation = GenerationConfig::from_hf(dir, &file)?;
        if generation.eos_token_ids.is_empty() {
            let eos = tokens
                .eos_token
                .as_deref()
                .and_then(|eos| tokenizer.id(eos));
            generation.eos_token_ids.extend(eos);
        }
        generation.check(dir, config.vocab_size)?;
        Ok(Self {
            chat_template: read_template(dir, &tokens)?,
            format: Format::HuggingFace,
            reading,
            config,
            weights,
            tokenizer,
            generation,
        })
    }

    fn open_gguf(path: &Path, reading: Reading) -> Result<Self> {
        let file = GgufFile::open_by(path, reading)?;
        let config = arch::config_from_gguf(&file)?;
        let weights = arch::bind(&config, &file)?;
        let tokenizer = Tokenizer::from_gguf(&file, config.vocab_size)?;
        let generation = GenerationConfig::from_gguf(&file)?;
        generation.check(path, config.vocab_size)?;
        let text = |key: &str| -> Result<String> {
            let id: Option<u32> = file.get(key)?;
            Ok(id.and_then(|id| tokenizer.token(id)).unwrap_or_default())
        };
        let (bos, eos) = (
            text("tokenizer.ggml.bos_token_id")?,
            text("tokenizer.ggml.eos_token_id")?,
        );
        let template: Option<&str> = file.get("tokenizer.chat_template")?;
        let template = template.map(|source| ChatTemplate::new(source, &bos, &eos));
        Ok(Self {
            chat_template: template,
            format: Format::Gguf,
            reading,
            config,
            weights,
            tokenizer,
            generation,
        })
    }
}
