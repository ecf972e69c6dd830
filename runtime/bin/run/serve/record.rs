//! What the log says of a request.

use kcache::Error;
use serde::Serialize;

use super::api::Endpoint;
use super::gate::Request;

/// One request, once it has ended.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// The name that the client was given.
    pub id: String,
    /// Where it came in.
    pub endpoint: Endpoint,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens generated.
    pub new_tokens: usize,
    /// From its arrival to its place in the batch.
    pub seconds_in_queue: f64,
    /// From its arrival, in seconds.
    pub time_to_first_token: Option<f64>,
    /// In all.
    pub seconds: f64,
}

/// How a request ended.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "outcome", content = "why", rename_all = "snake_case")]
pub enum Outcome {
    /// With its text, because of this.
    Finished(&'static str),
    /// The client went away.
    Gone,
    /// The client left too much unread.
    Slow,
    /// It could not be computed.
    Failed(String),
}

impl Outcome {
    /// Because of `error`.
    pub fn failed(error: &Error) -> Self {
        Self::Failed(error.to_string())
    }

    /// A word for it, as the metrics use it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Finished(_) => "finished",
            Self::Gone => "gone",
            Self::Slow => "slow",
            Self::Failed(_) => "failed",
        }
    }
}

impl Record {
    /// Of a request that never was computed.
    pub fn waiting(request: &Request, outcome: Outcome) -> Self {
        let seconds = request.arrived.elapsed().as_secs_f64();
        Self {
            id: request.id.clone(),
            endpoint: request.endpoint,
            outcome,
            prompt_tokens: request.prompt.len(),
            new_tokens: 0,
            seconds_in_queue: seconds,
            time_to_first_token: None,
            seconds,
        }
    }

    /// For people.
    pub fn line(&self) -> String {
        let why = match &self.outcome {
            Outcome::Finished(why) => format!(": {why}"),
            Outcome::Failed(why) => format!(": {why}"),
            Outcome::Gone | Outcome::Slow => String::new(),
        };
        format!(
            "{} {}: {} prompt tokens, {} new, {:.2} s; {}{why}",
            self.id,
            self.endpoint.path(),
            self.prompt_tokens,
            self.new_tokens,
            self.seconds,
            self.outcome.name(),
        )
    }
}
