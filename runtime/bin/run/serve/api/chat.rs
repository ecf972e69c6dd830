//! `/v1/chat/completions`: the reply to a conversation.

use kcache::models::chat::Message;
use serde::Deserialize;
use serde_json::Value;

use super::answer::Wish;
use super::error::ApiError;
use super::fields::{Fields, is_empty};
use crate::serve::model::Served;

use kcache::engine::GenerateOptions;

/// The body of a request.
#[derive(Debug, Deserialize)]
pub struct ChatRequest {
    messages: Vec<ChatMessage>,
    max_completion_tokens: Option<u64>,
    tools: Option<Value>,
    functions: Option<Value>,
    response_format: Option<ResponseFormat>,
    #[serde(flatten)]
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

#[derive(Debug, Deserialize)]
struct ResponseFormat {
    #[serde(rename = "type")]
    kind: String,
}

impl Wish for ChatRequest {
    fn fields(&self) -> &Fields {
        &self.fields
    }

    fn options(&self, model: &Served) -> Result<GenerateOptions, ApiError> {
        let asked = |value: &Option<Value>| {
            let value = value.as_ref();
            value.is_some_and(|v| !v.is_null() && !is_empty(v))
        };
        if asked(&self.tools) {
            return Err(ApiError::unsupported("tools", "calling tools"));
        }
        if asked(&self.functions) {
            return Err(ApiError::unsupported("functions", "calling functions"));
        }
        if let Some(format) = self.response_format.as_ref().filter(|f| f.kind != "text") {
            let what = format!("the type {:?}", format.kind);
            return Err(ApiError::unsupported("response_format", &what));
        }
        let max_tokens = self.max_completion_tokens.or(self.fields.max_tokens);
        let options = self.fields.options(model, max_tokens)?;
        Ok(GenerateOptions {
            continues_text: false,
            ..options
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
