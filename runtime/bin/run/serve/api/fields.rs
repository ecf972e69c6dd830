//! Fields that both endpoints understand, and those that neither does.

use kcache::engine::GenerateOptions;
use serde::Deserialize;
use serde_json::Value;

use super::error::ApiError;
use crate::failure::Failure;
use crate::sampling_args::SamplingArgs;
use crate::serve::model::Served;

/// Texts of `stop` at most: each is looked for in all that is written.
const MAX_STOPS: usize = 16;

/// One text or several.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a string or an array of strings")]
pub enum OneOrMany {
    /// `"text"`
    One(String),
    /// `["text", …]`
    Many(Vec<String>),
}

/// What happens to streams.
#[derive(Debug, Default, Deserialize)]
pub struct StreamOptions {
    /// Whether the last chunk tells the tokens of prompt and text.
    pub include_usage: Option<bool>,
}

/// Fields of every request. What is not here and not refused is ignored, as
/// clients send more than a server needs.
#[derive(Debug, Deserialize)]
pub struct Fields {
    pub model: Option<String>,
    #[serde(default)]
    pub stream: Option<bool>,
    pub stream_options: Option<StreamOptions>,
    pub max_tokens: Option<u64>,
    pub temperature: Option<f32>,
    pub top_p: Option<f32>,
    pub seed: Option<i64>,
    pub stop: Option<OneOrMany>,
    // Beyond OpenAI's, as other servers call them.
    pub top_k: Option<i64>,
    pub min_p: Option<f32>,
    pub repetition_penalty: Option<f32>,
    pub ignore_eos: Option<bool>,
    // What would change the text and is not done.
    n: Option<u64>,
    logprobs: Option<Value>,
    top_logprobs: Option<Value>,
    logit_bias: Option<Value>,
    presence_penalty: Option<f64>,
    frequency_penalty: Option<f64>,
}

impl Fields {
    /// How the text is written, with at most `max_tokens` tokens.
    ///
    /// # Errors
    /// [`ApiError`] naming the first field that cannot be used.
    pub fn options(
        &self,
        model: &Served,
        max_tokens: Option<u64>,
    ) -> Result<GenerateOptions, ApiError> {
        self.refuse_unsupported()?;
        if max_tokens == Some(0) {
            return Err(ApiError::param("max_tokens", "at least 1 is needed, got 0"));
        }
        let limit = max_tokens.map(|n| usize::try_from(n).unwrap_or(usize::MAX));
        let given = &model.defaults;
        let sampling = SamplingArgs {
            max_new_tokens: limit.or(given.max_new_tokens),
            temperature: self.temperature.or(given.temperature),
            top_k: self.top_k()?.or(given.top_k),
            top_p: self.top_p.or(given.top_p),
            min_p: self.min_p.or(given.min_p),
            repetition_penalty: self.repetition_penalty.or(given.repetition_penalty),
            // A client's seed is any integer: its bits are as good.
            seed: self.seed.map(i64::cast_unsigned).or(given.seed),
            stop: self.stop()?.unwrap_or_else(|| given.stop.clone()),
            ignore_eos: self.ignore_eos.unwrap_or(given.ignore_eos),
        };
        let options = sampling.options(&model.generation);
        options.map_err(|failure| match failure {
            Failure::Runtime(error) => ApiError::from(&error),
            other => ApiError::bad(other.to_string()),
        })
    }

    /// Whether a stream ends with the count of tokens.
    pub fn include_usage(&self) -> bool {
        let options = self.stream_options.as_ref();
        options.and_then(|o| o.include_usage).unwrap_or(false)
    }

    fn stop(&self) -> Result<Option<Vec<String>>, ApiError> {
        let stop = match &self.stop {
            None => return Ok(None),
            Some(OneOrMany::One(text)) => vec![text.clone()],
            Some(OneOrMany::Many(texts)) => texts.clone(),
        };
        match stop.len() > MAX_STOPS {
            true => Err(ApiError::param(
                "stop",
                format!("at most {MAX_STOPS} texts, got {}", stop.len()),
            )),
            false => Ok(Some(stop)),
        }
    }

    /// Some clients turn it off with -1.
    fn top_k(&self) -> Result<Option<usize>, ApiError> {
        match self.top_k {
            None => Ok(None),
            Some(-1) => Ok(Some(0)),
            Some(k) => usize::try_from(k).map(Some).map_err(|_| {
                ApiError::param("top_k", format!("must be 0 or more, or -1, got {k}"))
            }),
        }
    }

    fn refuse_unsupported(&self) -> Result<(), ApiError> {
        let given = |value: &Option<Value>| {
            let idle = |v: &Value| v.is_null() || *v == Value::Bool(false) || is_empty(v);
            value.as_ref().is_some_and(|v| !idle(v))
        };
        for (name, what, wanted) in [
            ("n", "more than one choice", self.n.is_some_and(|n| n != 1)),
            ("logprobs", "asking for it", given(&self.logprobs)),
            ("top_logprobs", "asking for it", given(&self.top_logprobs)),
            ("logit_bias", "a bias", given(&self.logit_bias)),
            (
                "presence_penalty",
                "a penalty other than repetition_penalty",
                self.presence_penalty.is_some_and(|p| p != 0.0),
            ),
            (
                "frequency_penalty",
                "a penalty other than repetition_penalty",
                self.frequency_penalty.is_some_and(|p| p != 0.0),
            ),
        ] {
            if wanted {
                return Err(ApiError::unsupported(name, what));
            }
        }
        Ok(())
    }
}

/// Whether `value` is an empty array or object.
pub fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}
