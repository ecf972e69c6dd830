//! Hugging Face checkpoint directories.

mod json;
mod tokenizer_config;

use std::path::Path;

use crate::chat::ChatTemplate;
use crate::{Error, Result};

pub(crate) use json::{JsonFile, quoted, read_text, shown};
pub(crate) use tokenizer_config::TokenizerConfig;

/// The chat template of `dir`: `chat_template.jinja`, or else the one that
/// `tokenizer_config.json` holds.
pub(crate) fn read_template(dir: &Path, config: &TokenizerConfig) -> Result<Option<ChatTemplate>> {
    let source = match read_text(&dir.join("chat_template.jinja")) {
        Ok(source) => Some(source),
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            config.chat_template.clone()
        }
        Err(e) => return Err(e),
    };
    let token = |token: &Option<String>| token.clone().unwrap_or_default();
    let (bos, eos) = (token(&config.bos_token), token(&config.eos_token));
    Ok(source.map(|source| ChatTemplate::new(&source, &bos, &eos)))
}
