//! A loaded model: everything that sequences share and nothing changes.

use std::path::Path;

use kcache_models::chat::ChatTemplate;
use kcache_models::config::ModelConfig;
use kcache_models::tokenizer::Tokenizer;
use kcache_models::weights::{ModelWeights, Upload, WeightSizes};
use kcache_models::{Checkpoint, GenerationConfig, Tensor};

use crate::backend::{Backend, Memory};
use crate::{Error, Result};

/// Weights on a backend, with the tokenizer and the texts that go with them.
pub struct Model<B: Backend> {
    pub(crate) backend: B,
    pub(crate) config: ModelConfig,
    pub(crate) weights: ModelWeights<B::Matrix, B::Vector>,
    pub(crate) rope: B::Rope,
    tokenizer: Tokenizer,
    chat_template: Option<ChatTemplate>,
    generation: GenerationConfig,
    weight_sizes: WeightSizes,
    weight_bytes: u64,
    step_weight_bytes: u64,
}

impl<B: Backend> Model<B> {
    /// Opens the checkpoint at `path` and loads it. See [`Model::from_checkpoint`].
    ///
    /// # Errors
    /// [`Error::Model`] for a bad checkpoint, [`Error::InvalidArgument`] for one
    /// that `backend` cannot compute, [`Error::OutOfMemory`], [`Error::Device`],
    /// or what `progress` returned.
    pub fn load(
        path: &Path,
        backend: B,
        progress: &mut dyn FnMut(u64, u64) -> Result<()>,
    ) -> Result<Self> {
        Self::from_checkpoint(Checkpoint::open(path)?, backend, progress)
    }

    /// Brings the weights of `checkpoint` to `backend`.
    ///
    /// `progress` is called with the bytes loaded and their total; an error
    /// from it stops the load and is returned.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn from_checkpoint(
        checkpoint: Checkpoint,
        backend: B,
        progress: &mut dyn FnMut(u64, u64) -> Result<()>,
    ) -> Result<Self> {
        backend.check(&checkpoint.config)?;
        let sizes = checkpoint.weight_sizes();
        let weight_bytes = backend.memory(&checkpoint.config, &sizes, false)?.weights;
        let mut loader = Loader {
            backend: &backend,
            loaded: 0,
            total: sizes.bytes,
            progress,
        };
        let weights = checkpoint.weights.upload(&mut loader)?;
        let looked_up = match &weights.lm_head {
            Some(_) => backend.matrix_bytes(&weights.embedding),
            None => 0,
        };
        let rope = backend.rope(&checkpoint.config)?;
        Ok(Self {
            backend,
            weights,
            rope,
            config: checkpoint.config,
            tokenizer: checkpoint.tokenizer,
            chat_template: checkpoint.chat_template,
            generation: checkpoint.generation,
            step_weight_bytes: weight_bytes - looked_up,
            weight_sizes: sizes,
            weight_bytes,
        })
    }

    /// Where the model computes.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// Shape and constants.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Text to ids and back.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The checkpoint's chat template, if it has one.
    pub fn chat_template(&self) -> Option<&ChatTemplate> {
        self.chat_template.as_ref()
    }

    /// The checkpoint's own end-of-text ids and sampling defaults.
    pub fn generation(&self) -> &GenerationConfig {
        &self.generation
    }

    /// How much there is of the weights in the checkpoint.
    pub fn weight_sizes(&self) -> &WeightSizes {
        &self.weight_sizes
    }

    /// Bytes of the weights where they are computed with.
    pub fn weight_bytes(&self) -> u64 {
        self.weight_bytes
    }

    /// Bytes of the weights that one decode step reads: all but the embedding's
    /// other rows.
    pub fn step_weight_bytes(&self) -> u64 {
        self.step_weight_bytes
    }

    /// What the weights take, and what the backend's memories have for them and
    /// everything else.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub(crate) fn memory(&self) -> Result<Memory> {
        self.backend.memory(&self.config, &self.weight_sizes, true)
    }

    /// # Errors
    /// [`Error::InvalidArgument`] for no tokens, and for one outside the vocabulary.
    pub(crate) fn check_prompt(&self, tokens: &[u32]) -> Result<()> {
        if tokens.is_empty() {
            return Err(Error::InvalidArgument(
                "the prompt has no tokens; at least one is needed".into(),
            ));
        }
        self.check_tokens(tokens)
    }

    /// # Errors
    /// [`Error::InvalidArgument`] for the first id that is not in the vocabulary.
    pub(crate) fn check_tokens(&self, tokens: &[u32]) -> Result<()> {
        let vocab = self.config.vocab_size;
        match tokens.iter().find(|&&id| id as usize >= vocab) {
            Some(id) => Err(Error::InvalidArgument(format!(
                "token id {id} is outside the vocabulary of {vocab}"
            ))),
            None => Ok(()),
        }
    }
}

struct Loader<'a, B> {
    backend: &'a B,
    loaded: u64,
    total: u64,
    progress: &'a mut dyn FnMut(u64, u64) -> Result<()>,
}

impl<B: Backend> Loader<'_, B> {
    fn advance(&mut self, tensor: &Tensor) -> Result<()> {
        self.loaded += tensor.bytes().len() as u64;
        (self.progress)(self.loaded, self.total)
    }
}

impl<B: Backend> Upload for Loader<'_, B> {
    type Matrix = B::Matrix;
    type Vector = B::Vector;
    type Error = Error;

    fn matrix(&mut self, tensor: &Tensor) -> Result<B::Matrix> {
        let matrix = self.backend.matrix(tensor)?;
        self.advance(tensor)?;
        Ok(matrix)
    }

    fn vector(&mut self, tensor: &Tensor) -> Result<B::Vector> {
        let vector = self.backend.vector(tensor)?;
        self.advance(tensor)?;
        Ok(vector)
    }
}
