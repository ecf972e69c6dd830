//! `/v1/chat/completions`: the reply to a conversation.

use kcache::engine::GenerateOptions;
use kcache::models::chat::Message;
use serde::Deserialize;
use serde_json::Value;

use super::answer::Wish;
use super::error::ApiError;
use super::fields::{Body, Fields, is_empty, max_tokens};
use crate::serve::model::Served;

/// A conversation to reply to.
pub struct ChatRequest {
    messages: Vec<ChatMessage>,
    fields: Fields,
}

#[derive(Debug, Deserialize)]
struct ChatMessage {
    role: String,
    content: Option<Content>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a string or an array of parts")]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
}

impl Wish for ChatRequest {
    fn read(mut body: Body) -> Result<Self, ApiError> {
        body.refuse("tools", "calling tools", is_empty)?;
        body.refuse("functions", "calling functions", is_empty)?;
        let is_text = |format: &Value| format["type"] == "text";
        body.refuse("response_format", "a type other than text", is_text)?;
        let newer = max_tokens(&mut body, "max_completion_tokens")?;
        let mut fields = Fields::read(&mut body)?;
        fields.max_tokens = newer.or(fields.max_tokens);
        Ok(Self {
            messages: body.need("messages")?,
            fields,
        })
    }

    fn fields(&self) -> &Fields {
        &self.fields
    }

    fn options(&self, model: &Served) -> Result<GenerateOptions, ApiError> {
        Ok(GenerateOptions {
            continues_text: false,
            ..self.fields.options(model)?
        })
    }

    /// The conversation through the checkpoint's template.
    fn prompt(&self, model: &Served) -> Result<Vec<u32>, ApiError> {
        if self.messages.is_empty() {
            return Err(ApiError::param("messages", "at least one is needed"));
        }
        let template = model.template.as_ref().ok_or_else(|| {
            ApiError::bad("the model has no chat template; /v1/completions continues a prompt")
        })?;
        let messages: Result<Vec<Message>, ApiError> =
            self.messages.iter().map(ChatMessage::read).collect();
        let text = template.render(&messages?, true);
        let text = text.map_err(|e| ApiError::param("messages", e.to_string()))?;
        model.encode(&text, false)
    }
}

impl ChatMessage {
    fn read(&self) -> Result<Message, ApiError> {
        let content = match &self.content {
            None => String::new(),
            Some(Content::Text(text)) => text.clone(),
            Some(Content::Parts(parts)) => {
                let texts: Result<Vec<&str>, ApiError> = parts.iter().map(Part::text).collect();
                texts?.concat()
            }
        };
        Ok(Message {
            role: self.role.clone(),
            content,
        })
    }
}

impl Part {
    fn text(&self) -> Result<&str, ApiError> {
        match (&*self.kind, &self.text) {
            ("text", Some(text)) => Ok(text),
            (kind, _) => {
                let what = format!("a part of type {kind:?}");
                Err(ApiError::unsupported("messages", &what))
            }
        }
    }
}
