//! Figures for Prometheus. docs/serving.md lists them.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use kcache::engine::Stats;
use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use super::api::error::ApiError;
use super::record::{Outcome, Record};
use crate::failure::Failure;

/// Bounds of the buckets of times to a first token and of whole requests, in seconds.
const SECONDS: [f64; 13] = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];
/// Bounds of the buckets of times between tokens, in seconds.
const STEP_SECONDS: [f64; 11] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// All figures of one server.
pub struct Metrics {
    registry: Registry,
    responses: IntCounterVec,
    requests: IntCounterVec,
    prompt_tokens: IntCounter,
    new_tokens: IntCounter,
    held: IntGauge,
    running: IntGauge,
    waiting: IntGauge,
    kv_bytes: IntGaugeVec,
    v_rows: IntCounterVec,
    v_bytes_fetched: IntCounter,
    time_to_first_token: Histogram,
    time_per_token: Histogram,
    request_seconds: Histogram,
}

impl Metrics {
    /// Nothing counted yet.
    ///
    /// # Errors
    /// [`Failure::System`] if the names clash, which the tests rule out.
    pub fn new() -> Result<Self, Failure> {
        Self::registered().map_err(|e| Failure::System(format!("metrics: {e}")))
    }

    fn registered() -> prometheus::Result<Self> {
        let registry = &Registry::new();
        let opts = |name: &str, help: &str| Opts::new(format!("kcache_{name}"), help);
        let counters = |name, help, label: &str| {
            add(registry, IntCounterVec::new(opts(name, help), &[label])?)
        };
        let counter = |name, help| add(registry, IntCounter::with_opts(opts(name, help))?);
        let gauge = |name, help| add(registry, IntGauge::with_opts(opts(name, help))?);
        let histogram = |name, help, bounds: &[f64]| {
            let opts = HistogramOpts::from(opts(name, help)).buckets(bounds.to_vec());
            add(registry, Histogram::with_opts(opts)?)
        };
        let kv_bytes = opts(
            "kv_cache_bytes",
            "Bytes held for running requests and, with --reuse-prefix, ended ones",
        );
        Ok(Self {
            responses: counters("http_responses_total", "HTTP responses begun", "status")?,
            requests: counters("requests_total", "Requests that ended", "outcome")?,
            prompt_tokens: counter("prompt_tokens_total", "Prompt tokens of ended requests")?,
            new_tokens: counter("generation_tokens_total", "Tokens generated")?,
            held: gauge("requests_held", "Requests that hold a place")?,
            running: gauge("requests_running", "Requests in the batch")?,
            waiting: gauge("requests_waiting", "Requests that wait for the batch")?,
            kv_bytes: add(registry, IntGaugeVec::new(kv_bytes, &["part"])?)?,
            v_rows: counters(
                "v_rows_total",
                "V rows needed beyond sinks and window",
                "from",
            )?,
            v_bytes_fetched: counter("v_fetched_bytes_total", "Bytes of V read from the host")?,
            time_to_first_token: histogram(
                "time_to_first_token_seconds",
                "From a request's arrival to its first token",
                &SECONDS,
            )?,
            time_per_token: histogram(
                "time_per_output_token_seconds",
                "Mean over a request's tokens after the first",
                &STEP_SECONDS,
            )?,
            request_seconds: histogram(
                "request_duration_seconds",
                "From a request's arrival to its end",
                &SECONDS,
            )?,
            registry: registry.clone(),
        })
    }

    /// A response of this status has begun.
    pub fn note_response(&self, status: u16) {
        let status = status.to_string();
        self.responses.with_label_values(&[&status]).inc();
    }

    /// A token was generated.
    pub fn note_token(&self) {
        self.new_tokens.inc();
    }

    /// A request has ended.
    pub fn note_request(&self, record: &Record) {
        let outcome = record.outcome.name();
        self.requests.with_label_values(&[outcome]).inc();
        self.prompt_tokens.inc_by(record.prompt_tokens as u64);
        if let Some(first) = record.time_to_first_token {
            self.time_to_first_token.observe(first);
        }
        if let Outcome::Finished(_) = record.outcome {
            self.request_seconds.observe(record.seconds);
        }
    }

    /// What the engine did for a request.
    pub fn note_stats(&self, stats: &Stats) {
        if let Some(ms) = stats.ms_per_token() {
            self.time_per_token.observe(ms / 1e3);
        }
        let kv = &stats.kv;
        for (from, rows) in [("hot", kv.rows_hit), ("host", kv.rows_fetched)] {
            self.v_rows.with_label_values(&[from]).inc_by(rows);
        }
        self.v_bytes_fetched.inc_by(kv.bytes_fetched);
    }

    /// What the batch holds after a step.
    pub fn note_batch(&self, running: usize, waiting: usize, kv_bytes: [usize; 3]) {
        self.running.set(gauged(running));
        self.waiting.set(gauged(waiting));
        for (part, bytes) in ["keys", "values", "hot_rows"].into_iter().zip(kv_bytes) {
            self.kv_bytes.with_label_values(&[part]).set(gauged(bytes));
        }
    }

    /// All figures as text, with `held` requests that hold a place.
    ///
    /// # Errors
    /// 500 if they cannot be written.
    pub fn text(&self, held: usize) -> Result<Response, ApiError> {
        self.held.set(gauged(held));
        let text = TextEncoder::new().encode_to_string(&self.registry.gather());
        let text = text.map_err(|e| ApiError::internal(format!("metrics: {e}")))?;
        let kind = [(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)];
        Ok((kind, text).into_response())
    }
}

fn add<C: Collector + Clone + 'static>(registry: &Registry, figure: C) -> prometheus::Result<C> {
    registry.register(Box::new(figure.clone()))?;
    Ok(figure)
}

fn gauged(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
