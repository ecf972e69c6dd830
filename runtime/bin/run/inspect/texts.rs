//! What a checkpoint says about text: tokens, template, sampling.

use kcache::models::chat::{ChatTemplate, Message};
use kcache::models::tokenizer::Tokenizer;
use kcache::models::{GenerationConfig, Result};
use serde::Serialize;

/// A vocabulary entry.
#[derive(Serialize)]
pub struct TokenReport {
    pub id: u32,
    pub token: Option<String>,
}

/// The tokenizer.
#[derive(Serialize)]
pub struct TokenizerReport {
    pub vocab_size: usize,
    pub special_tokens: usize,
    /// What is put around a text.
    pub around_text: Vec<TokenReport>,
}

/// The chat template.
#[derive(Serialize)]
pub struct TemplateReport {
    pub source: String,
    /// Why it cannot be used.
    pub error: Option<String>,
    /// A short conversation as the model would see it.
    pub example: Option<String>,
}

/// What the checkpoint recommends; `null` where it is silent.
#[derive(Serialize)]
pub struct GenerationReport {
    pub eos_tokens: Vec<TokenReport>,
    pub bos_token: Option<TokenReport>,
    pub do_sample: Option<bool>,
    pub temperature: Option<f32>,
    pub top_k: Option<usize>,
    pub top_p: Option<f32>,
    pub min_p: Option<f32>,
    pub repetition_penalty: Option<f32>,
}

impl TokenReport {
    fn new(id: u32, tokenizer: &Tokenizer) -> Self {
        Self {
            id,
            token: tokenizer.token(id),
        }
    }
}

impl TokenizerReport {
    /// Of `tokenizer`.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn new(tokenizer: &Tokenizer) -> Result<Self> {
        let vocab_size = tokenizer.vocab_size();
        let ids = 0..vocab_size as u32;
        let around = tokenizer.encode("", true)?;
        let report = |id: u32| TokenReport::new(id, tokenizer);
        Ok(Self {
            vocab_size,
            special_tokens: ids.filter(|&id| tokenizer.is_special(id)).count(),
            around_text: around.into_iter().map(report).collect(),
        })
    }
}

impl TemplateReport {
    /// Of `template`, tried on a greeting.
    pub fn new(template: &ChatTemplate) -> Self {
        let greeting = Message {
            role: "user".into(),
            content: "Hello".into(),
        };
        let rendered = template.render(&[greeting], true);
        Self {
            source: template.source().to_owned(),
            error: rendered.as_ref().err().map(ToString::to_string),
            example: rendered.ok(),
        }
    }
}

impl GenerationReport {
    /// Of `generation`.
    pub fn new(generation: &GenerationConfig, tokenizer: &Tokenizer) -> Self {
        let report = |&id: &u32| TokenReport::new(id, tokenizer);
        Self {
            eos_tokens: generation.eos_token_ids.iter().map(report).collect(),
            bos_token: generation.bos_token_id.as_ref().map(report),
            do_sample: generation.do_sample,
            temperature: generation.temperature,
            top_k: generation.top_k,
            top_p: generation.top_p,
            min_p: generation.min_p,
            repetition_penalty: generation.repetition_penalty,
        }
    }
}
