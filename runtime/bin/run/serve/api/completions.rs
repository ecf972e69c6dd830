//! `/v1/completions`: what follows a prompt.

use kcache::engine::GenerateOptions;
use serde::Deserialize;

use super::answer::Wish;
use super::error::ApiError;
use super::fields::{Body, Fields, is_empty, is_number};
use crate::serve::model::Served;

/// Tokens where neither the request nor the server's flags say how many, as in
/// OpenAI's API.
const MAX_TOKENS: usize = 16;

/// A prompt to continue.
pub struct CompletionRequest {
    prompt: Prompt,
    fields: Fields,
}

#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a string, an array of one string, or an array of token ids"
)]
enum Prompt {
    Text(String),
    Ids(Vec<u32>),
    Texts(Vec<String>),
    ManyIds(Vec<Vec<u32>>),
}

impl Wish for CompletionRequest {
    fn read(mut body: Body) -> Result<Self, ApiError> {
        body.refuse("echo", "repeating the prompt", is_empty)?;
        body.refuse("suffix", "a text to lead to", is_empty)?;
        body.refuse("best_of", "more than one choice", is_number(1.0))?;
        Ok(Self {
            prompt: body.need("prompt")?,
            fields: Fields::read(&mut body)?,
        })
    }

    fn fields(&self) -> &Fields {
        &self.fields
    }

    fn options(&self, model: &Served) -> Result<GenerateOptions, ApiError> {
        let mut options = self.fields.options(model)?;
        options.max_new_tokens.get_or_insert(MAX_TOKENS);
        Ok(options)
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
