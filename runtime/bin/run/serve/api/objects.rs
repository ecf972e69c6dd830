//! The JSON objects of responses.

use serde_json::{Value, json};

use super::Endpoint;
use crate::serve::gate::Ending;

/// What all objects of one response have in common.
pub struct Objects {
    /// Which response it is.
    pub endpoint: Endpoint,
    /// Its name.
    pub id: String,
    /// When it began, in seconds since 1970.
    pub created: u64,
    /// The model's name.
    pub model: String,
    /// Whether chunks speak of usage.
    pub include_usage: bool,
}

impl Objects {
    /// A response that is not streamed.
    pub fn whole(&self, text: &str, ending: &Ending) -> Value {
        let choice = match self.endpoint {
            Endpoint::Chat => json!({
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": null},
                "logprobs": null,
                "finish_reason": ending.reason,
            }),
            Endpoint::Completions => self.completion(text, Some(ending)),
        };
        let mut object = self.object("chat.completion", json!([choice]));
        object["usage"] = usage(ending);
        object
    }

    /// The chunk that says who speaks.
    pub fn first(&self) -> Option<Value> {
        let role = json!({"role": "assistant", "content": ""});
        (self.endpoint == Endpoint::Chat).then(|| self.chunk(self.delta(role, None)))
    }

    /// A chunk of text.
    pub fn piece(&self, text: &str) -> Value {
        self.chunk(match self.endpoint {
            Endpoint::Chat => self.delta(json!({"content": text}), None),
            Endpoint::Completions => self.completion(text, None),
        })
    }

    /// The chunk that says why the text ended.
    pub fn last(&self, ending: &Ending) -> Value {
        self.chunk(match self.endpoint {
            Endpoint::Chat => self.delta(json!({}), Some(ending)),
            Endpoint::Completions => self.completion("", Some(ending)),
        })
    }

    /// The chunk that counts tokens; it has no choice.
    pub fn usage(&self, ending: &Ending) -> Value {
        let mut object = self.object("chat.completion.chunk", json!([]));
        object["usage"] = usage(ending);
        object
    }

    fn chunk(&self, choice: Value) -> Value {
        let mut object = self.object("chat.completion.chunk", json!([choice]));
        if self.include_usage {
            object["usage"] = Value::Null;
        }
        object
    }

    fn object(&self, chat: &str, choices: Value) -> Value {
        let kind = match self.endpoint {
            Endpoint::Chat => chat,
            Endpoint::Completions => "text_completion",
        };
        json!({
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        })
    }

    fn delta(&self, delta: Value, ending: Option<&Ending>) -> Value {
        json!({
            "index": 0,
            "delta": delta,
            "logprobs": null,
            "finish_reason": ending.map(|e| e.reason),
        })
    }

    fn completion(&self, text: &str, ending: Option<&Ending>) -> Value {
        json!({
            "index": 0,
            "text": text,
            "logprobs": null,
            "finish_reason": ending.map(|e| e.reason),
        })
    }
}

fn usage(ending: &Ending) -> Value {
    json!({
        "prompt_tokens": ending.prompt_tokens,
        "completion_tokens": ending.new_tokens,
        "total_tokens": ending.prompt_tokens + ending.new_tokens,
        "prompt_tokens_details": {"cached_tokens": ending.cached_tokens},
    })
}
