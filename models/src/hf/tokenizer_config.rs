//! `tokenizer_config.json`: what `tokenizer.json` leaves out.

use std::path::Path;

use serde_json::Value;

use super::json::JsonFile;
use crate::Result;

/// The keys of `tokenizer_config.json` that matter to text; all are optional.
#[derive(Clone, Debug, Default)]
pub(crate) struct TokenizerConfig {
    pub(crate) bos_token: Option<String>,
    pub(crate) eos_token: Option<String>,
    pub(crate) add_bos_token: Option<bool>,
    pub(crate) add_eos_token: Option<bool>,
    /// Jinja source.
    pub(crate) chat_template: Option<String>,
}

impl TokenizerConfig {
    /// Reads the file in `dir`; a missing one says nothing.
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let path = dir.join("tokenizer_config.json");
        let Some(file) = JsonFile::read_optional(path)? else {
            return Ok(Self::default());
        };
        let token = |key| file.get(key, "a string or an object with content", token_text);
        Ok(Self {
            bos_token: token("bos_token")?,
            eos_token: token("eos_token")?,
            add_bos_token: file.bool("add_bos_token")?,
            add_eos_token: file.bool("add_eos_token")?,
            chat_template: file
                .get(
                    "chat_template",
                    "a string or a list of objects with name and template",
                    default_template,
                )?
                .flatten(),
        })
    }
}

/// A token is written as its text or as an object that describes it.
fn token_text(value: &Value) -> Option<String> {
    let text = value.as_str().or_else(|| value.get("content")?.as_str());
    text.map(str::to_owned)
}

/// The template itself, or of a list the one named `default`.
fn default_template(value: &Value) -> Option<Option<String>> {
    let Value::Array(list) = value else {
        return value.as_str().map(|source| Some(source.to_owned()));
    };
    let mut default = None;
    for entry in list {
        let name = entry.get("name")?.as_str()?;
        let source = entry.get("template")?.as_str()?;
        if name == "default" {
            default = Some(source.to_owned());
        }
    }
    Some(default)
}
