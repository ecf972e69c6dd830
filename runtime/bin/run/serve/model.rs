//! What the HTTP side knows of the model.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use kcache::backend::Backend;
use kcache::models::GenerationConfig;
use kcache::models::chat::ChatTemplate;
use kcache::models::tokenizer::Tokenizer;
use kcache::{Context, Error};
use serde_json::{Value, json};

use super::api::error::ApiError;
use crate::sampling_args::SamplingArgs;

/// The model that is served, without its weights.
pub struct Served {
    /// What clients call it.
    pub name: String,
    /// How a conversation becomes a prompt, if the model can talk.
    pub template: Option<ChatTemplate>,
    /// What the checkpoint recommends.
    pub generation: GenerationConfig,
    /// What the server's flags recommend over that.
    pub defaults: SamplingArgs,
    tokenizer: Tokenizer,
    vocab_size: usize,
    n_ctx: usize,
    /// When it began to be served, in seconds since 1970.
    created: u64,
}

impl Served {
    /// The model of `context` under `name`.
    pub fn new<B: Backend>(context: &Context<B>, name: String, defaults: SamplingArgs) -> Self {
        let model = context.model();
        Self {
            name,
            template: model.chat_template().cloned(),
            generation: model.generation().clone(),
            defaults,
            tokenizer: model.tokenizer().clone(),
            vocab_size: model.config().vocab_size,
            n_ctx: context.n_ctx(),
            created: unix_time(),
        }
    }

    /// # Errors
    /// 404 for a name that is not this model's.
    pub fn check_name(&self, name: Option<&str>) -> Result<(), ApiError> {
        match name {
            Some(name) if name != self.name => Err(ApiError::unknown_model(name, &self.name)),
            _ => Ok(()),
        }
    }

    /// The ids of a prompt; with `add_special`, a model's own first token leads.
    ///
    /// # Errors
    /// 400 if there are none, or more than the context holds.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>, ApiError> {
        let ids = self.tokenizer.encode(text, add_special);
        let ids = ids.map_err(|e| ApiError::from(&Error::from(e)))?;
        self.check_ids(&ids)?;
        Ok(ids)
    }

    /// # Errors
    /// 400 if there are no ids, more than the context holds, or one that is not
    /// in the vocabulary.
    pub fn check_ids(&self, ids: &[u32]) -> Result<(), ApiError> {
        let vocab = self.vocab_size;
        if let Some(id) = ids.iter().find(|&&id| id as usize >= vocab) {
            let text = format!("token id {id} is outside the vocabulary of {vocab}");
            return Err(ApiError::param("prompt", text));
        }
        match ids.len() {
            0 => Err(ApiError::bad("the prompt has no tokens")),
            new if new > self.n_ctx => Err(ApiError::from(&Error::ContextFull {
                used: 0,
                new,
                n_ctx: self.n_ctx,
            })),
            _ => Ok(()),
        }
    }

    /// The model as `/v1/models` lists it.
    pub fn card(&self) -> Value {
        json!({
            "id": self.name,
            "object": "model",
            "created": self.created,
            "owned_by": "kcache",
            "max_model_len": self.n_ctx,
        })
    }
}

/// Seconds since 1970.
pub fn unix_time() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |time| time.as_secs())
}

/// What a model at `path` is called: its file or folder, without an ending that
/// names the format.
pub fn default_name(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = match path.extension() {
        Some(ending) if ending == "gguf" => path.file_stem(),
        _ => path.file_name(),
    };
    name.map_or_else(
        || "model".into(),
        |name| name.to_string_lossy().into_owned(),
    )
}
