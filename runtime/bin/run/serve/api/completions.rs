//! `/v1/completions`: what follows a prompt.

use kcache::engine::GenerateOptions;
use serde::Deserialize;
use serde_json::Value;

use super::answer::Wish;
use super::error::ApiError;
use super::fields::Fields;
use crate::serve::model::Served;

/// Tokens where neither the request nor the server's flags say how many, as in
/// OpenAI's API.
const MAX_TOKENS: u64 = 16;

/// The body of a request.
#[derive(Debug, Deserialize)]
pub struct CompletionRequest {
    prompt: Prompt,
    echo: Option<bool>,
    suffix: Option<String>,
    best_of: Option<Value>,
    #[serde(flatten)]
    fields: Fields,
}

#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "expected prompt to be a string, an array of one string, or an array of token ids"
)]
enum Prompt {
    Text(String),
    Ids(Vec<u32>),
    Texts(Vec<String>),
    ManyIds(Vec<Vec<u32>>),
}

impl Wish for CompletionRequest {
    fn fields(&self) -> &Fields {
        &self.fields
    }

    fn options(&self, model: &Served) -> Result<GenerateOptions, ApiError> {
        if self.echo == Some(true) {
            return Err(ApiError::unsupported("echo", "repeating the prompt"));
        }
        if self.suffix.as_ref().is_some_and(|s| !s.is_empty()) {
            return Err(ApiError::unsupported("suffix", "a text to lead to"));
        }
        let one = |v: &Value| v.is_null() || v.as_u64() == Some(1);
        if self.best_of.as_ref().is_some_and(|v| !one(v)) {
            return Err(ApiError::unsupported("best_of", "more than one choice"));
        }
        let default = match model.defaults.max_new_tokens {
            Some(_) => None,
            None => Some(MAX_TOKENS),
        };
        let max_tokens = self.fields.max_tokens.or(default);
        self.fields.options(model, max_tokens)
    }

    fn prompt(&self, model: &Served) -> Result<Vec<u32>, ApiError> {
        let one = "one prompt a request, got";
        let ids = match &self.prompt {
            Prompt::Text(text) => model.encode(text, true)?,
            Prompt::Ids(ids) => ids.clone(),
            Prompt::Texts(texts) => match &texts[..] {
                [text] => model.encode(text, true)?,
                _ => return Err(ApiError::param("prompt", format!("{one} {}", texts.len()))),
            },
            Prompt::ManyIds(many) => match &many[..] {
                [ids] => ids.clone(),
                _ => return Err(ApiError::param("prompt", format!("{one} {}", many.len()))),
            },
        };
        model.check_ids(&ids)?;
        Ok(ids)
    }
}
