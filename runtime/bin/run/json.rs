//! What `--json` prints. docs/cli.md describes the fields.

use kcache::backend::Backend;
use kcache::cache::{KvCounters, KvPolicy};
use kcache::engine::perplexity::Perplexity;
use kcache::engine::{FinishReason, MemoryPlan, SamplingParams};
use kcache::{Context, Sequence};
use serde::Serialize;

use crate::eval::sweep::Row;
use crate::reply::Reply;

/// One reply.
#[derive(Serialize)]
pub struct ReplyJson<'a> {
    text: &'a str,
    tokens: &'a [u32],
    finish_reason: FinishReason,
    stats: StatsJson,
    sampling: &'a SamplingParams,
    #[serde(flatten)]
    setting: Setting<'a>,
}

/// One evaluated text.
#[derive(Serialize)]
pub struct EvalJson<'a> {
    prefilled: ScoreJson,
    decoded: ScoreJson,
    kv: KvJson,
    #[serde(flatten)]
    setting: Setting<'a>,
}

/// What ran where, and under which policy.
#[derive(Serialize)]
struct Setting<'a> {
    architecture: &'static str,
    backend: String,
    policy: &'a KvPolicy,
    memory_plan: &'a MemoryPlan,
}

/// Mean negative log-likelihood; `None` without predictions.
#[derive(Serialize)]
struct ScoreJson {
    tokens: usize,
    mean_nll: Option<f64>,
    perplexity: Option<f64>,
}

/// Rows and bytes of V that decode steps used.
#[derive(Serialize)]
struct KvJson {
    hot_row_hit_rate: Option<f64>,
    mean_rows: Option<f64>,
    p99_rows: Option<usize>,
    #[serde(flatten)]
    counters: KvCounters,
}

#[derive(Serialize)]
struct StatsJson {
    prompt_tokens: usize,
    reused_tokens: usize,
    new_tokens: usize,
    prefill_seconds: f64,
    prefill_tokens_per_second: Option<f64>,
    time_to_first_token: f64,
    decode_steps: usize,
    decode_seconds: f64,
    decode_tokens_per_second: Option<f64>,
    ms_per_token: Option<f64>,
    near_bytes_per_step: Option<f64>,
    fetched_bytes_per_step: Option<f64>,
    gigabytes_per_second: Option<f64>,
    memory: MemoryJson,
    kv: KvJson,
    logits_hash: String,
}

#[derive(Serialize)]
struct MemoryJson {
    weights: u64,
    keys: usize,
    values: usize,
    hot_rows: usize,
}

impl<'a> ReplyJson<'a> {
    /// What is known of `reply`, which `context` gave.
    pub fn new<B: Backend>(
        reply: &'a Reply,
        sampling: &'a SamplingParams,
        context: &'a Context<B>,
    ) -> Self {
        Self {
            text: &reply.text,
            tokens: &reply.tokens,
            finish_reason: reply.finish_reason,
            stats: StatsJson::new(reply, context.model().weight_bytes()),
            sampling,
            setting: Setting::new(context),
        }
    }
}

impl<'a> EvalJson<'a> {
    /// What `context` made of a text in `sequence`.
    pub fn new<B: Backend>(
        [prefilled, decoded]: &[Perplexity; 2],
        sequence: &Sequence<B>,
        context: &'a Context<B>,
    ) -> Self {
        Self {
            prefilled: ScoreJson::new(prefilled),
            decoded: ScoreJson::new(decoded),
            kv: KvJson::new(sequence.counters()),
            setting: Setting::new(context),
        }
    }
}

/// A sweep of policies on one text.
#[derive(Serialize)]
pub struct SweepJson<'a> {
    policies: Vec<SweepRowJson<'a>>,
}

#[derive(Serialize)]
struct SweepRowJson<'a> {
    name: &'a str,
    prefilled: ScoreJson,
    decoded: ScoreJson,
    nats_over_first: f64,
    same_token: Option<f64>,
    first_split: Option<usize>,
    kl_divergence: Option<f64>,
    kv: KvJson,
    layers: Vec<LayerJson>,
    #[serde(flatten)]
    setting: Setting<'a>,
}

#[derive(Serialize)]
struct LayerJson {
    mean_rows: Option<f64>,
    mean_mass: Option<f64>,
    hot_row_hit_rate: Option<f64>,
}

impl<'a> SweepJson<'a> {
    /// The rows of a sweep, each computed by the context of its index.
    pub fn new<B: Backend>(rows: &'a [Row], contexts: &'a [Context<B>]) -> Self {
        let rows = rows
            .iter()
            .zip(contexts)
            .map(|(row, context)| SweepRowJson {
                name: &row.name,
                prefilled: ScoreJson::new(&row.score.prefilled),
                decoded: ScoreJson::new(&row.score.decoded),
                nats_over_first: row.over_first,
                same_token: row.score.agreement.share(),
                first_split: row.score.agreement.first_split,
                kl_divergence: row.score.agreement.mean_divergence(),
                kv: KvJson::new(row.counters.clone()),
                layers: row.layers.iter().map(LayerJson::new).collect(),
                setting: Setting::new(context),
            });
        Self {
            policies: rows.collect(),
        }
    }
}

impl LayerJson {
    fn new(counters: &KvCounters) -> Self {
        Self {
            mean_rows: counters.mean_set(),
            mean_mass: counters.mean_mass(),
            hot_row_hit_rate: counters.hit_rate(),
        }
    }
}

impl<'a> Setting<'a> {
    fn new<B: Backend>(context: &'a Context<B>) -> Self {
        Self {
            architecture: context.model().config().architecture.name(),
            backend: context.model().backend().name(),
            policy: context.policy(),
            memory_plan: context.plan(),
        }
    }
}

impl ScoreJson {
    fn new(score: &Perplexity) -> Self {
        let figure = |x: f64| (score.tokens > 0).then_some(x);
        Self {
            tokens: score.tokens,
            mean_nll: figure(score.mean_nll()),
            perplexity: figure(score.value()),
        }
    }
}

impl KvJson {
    fn new(counters: KvCounters) -> Self {
        Self {
            hot_row_hit_rate: counters.hit_rate(),
            mean_rows: counters.mean_set(),
            p99_rows: counters.p99_set(),
            counters,
        }
    }
}

impl StatsJson {
    fn new(reply: &Reply, weights: u64) -> Self {
        let stats = &reply.stats;
        let [keys, values, hot_rows] = stats.kv_bytes;
        Self {
            prompt_tokens: stats.prompt_tokens,
            reused_tokens: reply.reused_tokens,
            new_tokens: stats.new_tokens,
            prefill_seconds: stats.prefill_seconds,
            prefill_tokens_per_second: stats.prefill_rate(),
            time_to_first_token: stats.time_to_first_token,
            decode_steps: stats.decode_steps,
            decode_seconds: stats.decode_seconds,
            decode_tokens_per_second: stats.decode_rate(),
            ms_per_token: stats.ms_per_token(),
            near_bytes_per_step: stats.near_bytes_per_step(),
            fetched_bytes_per_step: stats.fetched_bytes_per_step(),
            gigabytes_per_second: reply.gigabytes_per_second(),
            memory: MemoryJson {
                weights,
                keys,
                values,
                hot_rows,
            },
            kv: KvJson::new(stats.kv.clone()),
            logits_hash: reply.logits_hash(),
        }
    }
}
