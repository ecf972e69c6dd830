//! Fields of a request: those that both endpoints understand, and those that
//! neither does. What is in neither list is ignored, as clients send more than a
//! server needs.

use kcache::engine::GenerateOptions;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::ApiError;
use crate::failure::Failure;
use crate::sampling_args::SamplingArgs;
use crate::serve::model::Served;

/// Texts of `stop` at most: each is looked for in all that is written.
const MAX_STOPS: usize = 16;

/// One text or several.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a string or an array of strings")]
enum OneOrMany {
    /// `"text"`
    One(String),
    /// `["text", …]`
    Many(Vec<String>),
}

/// What happens to streams.
#[derive(Debug, Default, Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

/// The fields of a request's body.
pub struct Body(Map<String, Value>);

impl Body {
    /// Reads an object.
    ///
    /// # Errors
    /// 400 for anything else.
    pub fn parse(bytes: &[u8]) -> Result<Self, ApiError> {
        let object = serde_json::from_slice(bytes);
        object
            .map(Self)
            .map_err(|e| ApiError::bad(format!("the body: {e}")))
    }

    /// A field, if it is there and not null.
    ///
    /// # Errors
    /// 400 naming it.
    pub fn take<T: DeserializeOwned>(&mut self, name: &'static str) -> Result<Option<T>, ApiError> {
        let value = self.0.remove(name).filter(|value| !value.is_null());
        let value = value.map(serde_json::from_value).transpose();
        value.map_err(|e| ApiError::param(name, e.to_string()))
    }

    /// A field that must be there.
    ///
    /// # Errors
    /// 400 naming it.
    pub fn need<T: DeserializeOwned>(&mut self, name: &'static str) -> Result<T, ApiError> {
        let value = self.take(name)?;
        value.ok_or_else(|| ApiError::param(name, "is missing"))
    }

    /// Refuses a field that asks for `what`, unless its value asks for nothing.
    ///
    /// # Errors
    /// 400 naming it.
    pub fn refuse(
        &mut self,
        name: &'static str,
        what: &str,
        is_idle: impl Fn(&Value) -> bool,
    ) -> Result<(), ApiError> {
        match self.take(name)? {
            Some(value) if !is_idle(&value) => Err(ApiError::unsupported(name, what)),
            _ => Ok(()),
        }
    }
}

/// Whether a value is an empty array, object or text, or says no.
pub fn is_empty(value: &Value) -> bool {
    match value {
        Value::Bool(wanted) => !wanted,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

/// Whether a value is the number `n`.
pub fn is_number(n: f64) -> impl Fn(&Value) -> bool {
    move |value| value.as_f64() == Some(n)
}

/// Fields that both endpoints understand.
pub struct Fields {
    /// The model's name.
    pub model: Option<String>,
    /// Whether the text comes piece by piece.
    pub stream: bool,
    /// Whether a stream ends with the count of tokens.
    pub include_usage: bool,
    /// Tokens to generate at most.
    pub max_tokens: Option<u64>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    seed: Option<i64>,
    stop: Option<Vec<String>>,
    // Beyond OpenAI's, as other servers call them.
    top_k: Option<usize>,
    min_p: Option<f32>,
    repetition_penalty: Option<f32>,
    ignore_eos: Option<bool>,
}

impl Fields {
    /// Takes them out of `body`, and refuses those that ask for what is not done.
    ///
    /// # Errors
    /// 400 naming the first field that cannot be used.
    pub fn read(body: &mut Body) -> Result<Self, ApiError> {
        body.refuse("n", "more than one choice", is_number(1.0))?;
        body.refuse("logprobs", "asking for it", is_empty)?;
        body.refuse("top_logprobs", "asking for it", is_empty)?;
        body.refuse("logit_bias", "a bias", is_empty)?;
        let other = "a penalty other than repetition_penalty";
        body.refuse("presence_penalty", other, is_number(0.0))?;
        body.refuse("frequency_penalty", other, is_number(0.0))?;
        let stream_options: StreamOptions = body.take("stream_options")?.unwrap_or_default();
        Ok(Self {
            model: body.take("model")?,
            stream: body.take("stream")?.unwrap_or(false),
            include_usage: stream_options.include_usage.unwrap_or(false),
            max_tokens: max_tokens(body, "max_tokens")?,
            temperature: body.take("temperature")?,
            top_p: body.take("top_p")?,
            seed: body.take("seed")?,
            stop: stop(body)?,
            top_k: top_k(body)?,
            min_p: body.take("min_p")?,
            repetition_penalty: body.take("repetition_penalty")?,
            ignore_eos: body.take("ignore_eos")?,
        })
    }

    /// How the text is written. What the fields leave open, the server's flags say.
    ///
    /// # Errors
    /// 400 for a field out of its range.
    pub fn options(&self, model: &Served) -> Result<GenerateOptions, ApiError> {
        let given = &model.defaults;
        let limit = self.max_tokens;
        let limit = limit.map(|n| usize::try_from(n).unwrap_or(usize::MAX));
        let sampling = SamplingArgs {
            max_new_tokens: limit.or(given.max_new_tokens),
            temperature: self.temperature.or(given.temperature),
            top_k: self.top_k.or(given.top_k),
            top_p: self.top_p.or(given.top_p),
            min_p: self.min_p.or(given.min_p),
            repetition_penalty: self.repetition_penalty.or(given.repetition_penalty),
            // A client's seed is any integer: its bits are as good.
            seed: self.seed.map(i64::cast_unsigned).or(given.seed),
            stop: self.stop.clone().unwrap_or_else(|| given.stop.clone()),
            ignore_eos: self.ignore_eos.unwrap_or(given.ignore_eos),
        };
        let options = sampling.options(&model.generation);
        options.map_err(|failure| match failure {
            Failure::Runtime(error) => ApiError::from(&error),
            other => ApiError::bad(other.to_string()),
        })
    }
}

/// A number of tokens to generate at most.
///
/// # Errors
/// 400 for 0, and for what is no such number.
pub fn max_tokens(body: &mut Body, name: &'static str) -> Result<Option<u64>, ApiError> {
    match body.take(name)? {
        Some(0) => Err(ApiError::param(name, "at least 1 is needed, got 0")),
        n => Ok(n),
    }
}

fn stop(body: &mut Body) -> Result<Option<Vec<String>>, ApiError> {
    let texts = match body.take("stop")? {
        None => return Ok(None),
        Some(OneOrMany::One(text)) => vec![text],
        Some(OneOrMany::Many(texts)) => texts,
    };
    let n = texts.len();
    if n > MAX_STOPS {
        let text = format!("at most {MAX_STOPS} texts, got {n}");
        return Err(ApiError::param("stop", text));
    }
    Ok(Some(texts))
}

/// Some clients turn it off with -1.
fn top_k(body: &mut Body) -> Result<Option<usize>, ApiError> {
    match body.take::<i64>("top_k")? {
        None => Ok(None),
        Some(-1) => Ok(Some(0)),
        Some(k) => usize::try_from(k)
            .map(Some)
            .map_err(|_| ApiError::param("top_k", format!("must be 0 or more, or -1, got {k}"))),
    }
}
