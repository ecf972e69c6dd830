//! Chat templates: how a conversation becomes a prompt.

use crate::{Error, Result};

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Message {
    /// `system`, `user`, `assistant`, or what else the template knows.
    pub role: String,
    /// What was said.
    pub content: String,
}

/// A Jinja template from a checkpoint.
#[derive(Clone, Debug)]
pub struct ChatTemplate {}

impl ChatTemplate {
    /// The prompt for `messages`; with `add_generation_prompt` it ends where the assistant's reply starts.
    ///
    /// # Errors
    /// [`Error::Template`].
    pub fn render(&self, _messages: &[Message], _add_generation_prompt: bool) -> Result<String> {
        Err(Error::Template("no template".into()))
    }
}
