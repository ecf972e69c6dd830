//! Hugging Face checkpoint directories.

mod json;
mod tokenizer_config;

pub(crate) use json::JsonFile;
pub(crate) use tokenizer_config::TokenizerConfig;
