//! Flags that choose how tokens are drawn and when the text ends.

use std::fmt::Display;
use std::hash::{BuildHasher, RandomState};

use clap::Args;
use clap::builder::FalseyValueParser;
use kcache::engine::{GenerateOptions, SamplingParams};
use kcache::models::GenerationConfig;

use crate::console::Console;
use crate::failure::{Failure, Result};

/// How tokens are drawn. What no flag says, the checkpoint's generation
/// configuration does.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Sampling (what is not given comes from the checkpoint)")]
pub struct SamplingArgs {
    /// Tokens to generate at most [default: until the context is full]
    #[arg(short = 'n', long, value_name = "N", env = "KCACHE_MAX_NEW_TOKENS")]
    pub max_new_tokens: Option<usize>,
    /// Divides the logits: higher is more random, 0 takes the likeliest token
    #[arg(
        long,
        visible_alias = "temp",
        value_name = "T",
        allow_negative_numbers = true,
        env = "KCACHE_TEMPERATURE"
    )]
    pub temperature: Option<f32>,
    /// Draw from this many likeliest tokens; 0 is off
    #[arg(long, value_name = "N", env = "KCACHE_TOP_K")]
    pub top_k: Option<usize>,
    /// Draw from the fewest tokens with this probability; 1 is off
    #[arg(
        long,
        value_name = "P",
        allow_negative_numbers = true,
        env = "KCACHE_TOP_P"
    )]
    pub top_p: Option<f32>,
    /// Drop tokens below this share of the likeliest one's probability; 0 is off
    #[arg(
        long,
        value_name = "P",
        allow_negative_numbers = true,
        env = "KCACHE_MIN_P"
    )]
    pub min_p: Option<f32>,
    /// Makes tokens that occurred less likely; 1 is off
    #[arg(
        long,
        value_name = "X",
        allow_negative_numbers = true,
        env = "KCACHE_REPETITION_PENALTY"
    )]
    pub repetition_penalty: Option<f32>,
    /// Seed of the draws [default: random, and printed]
    #[arg(long, value_name = "N", env = "KCACHE_SEED")]
    pub seed: Option<u64>,
    /// End before this text; may be given several times
    #[arg(
        long,
        value_name = "TEXT",
        allow_hyphen_values = true,
        env = "KCACHE_STOP"
    )]
    pub stop: Vec<String>,
    /// Go on past the model's end-of-text tokens
    #[arg(long, env = "KCACHE_IGNORE_EOS", value_parser = FalseyValueParser::new())]
    pub ignore_eos: bool,
}

impl SamplingArgs {
    /// Options for a model that recommends `defaults`.
    ///
    /// # Errors
    /// [`Failure::Runtime`] for a flag out of range, [`Failure::Input`] for a
    /// recommendation out of range.
    pub fn options(&self, defaults: &GenerationConfig) -> Result<GenerateOptions> {
        self.params(&GenerationConfig::default()).validate()?;
        let sampling = self.params(defaults);
        sampling.validate().map_err(|e| {
            Failure::Input(format!("the checkpoint's generation configuration: {e}"))
        })?;
        Ok(GenerateOptions {
            sampling,
            max_new_tokens: self.max_new_tokens,
            stop: self.stop.clone(),
            stop_ids: match self.ignore_eos {
                true => Vec::new(),
                false => defaults.eos_token_ids.clone(),
            },
            continues_text: true,
        })
    }

    fn params(&self, defaults: &GenerationConfig) -> SamplingParams {
        let mut params = SamplingParams::recommended(&GenerationConfig {
            do_sample: Some(self.draws(defaults)),
            temperature: self.temperature.or(defaults.temperature),
            top_k: self.top_k.or(defaults.top_k),
            top_p: self.top_p.or(defaults.top_p),
            min_p: self.min_p.or(defaults.min_p),
            repetition_penalty: self.repetition_penalty.or(defaults.repetition_penalty),
            ..GenerationConfig::default()
        });
        match self.seed {
            Some(seed) => params.seed = seed,
            None if params.temperature != 0.0 => params.seed = random_seed(),
            None => {}
        }
        params
    }

    /// Whether tokens are drawn by chance: when the checkpoint says so, or when
    /// a flag would mean nothing otherwise.
    fn draws(&self, defaults: &GenerationConfig) -> bool {
        defaults.do_sample == Some(true)
            || self.temperature.is_some()
            || self.top_k.is_some()
            || self.top_p.is_some()
            || self.min_p.is_some()
    }
}

/// Says how tokens are drawn, and what the checkpoint recommends.
pub fn announce(params: &SamplingParams, defaults: &GenerationConfig, console: &Console) {
    let by_checkpoint = recommended(defaults).map(|line| format!(" (checkpoint: {line})"));
    console.note(format!(
        "sampling: {}{}",
        describe(params),
        by_checkpoint.unwrap_or_default()
    ));
}

fn describe(params: &SamplingParams) -> String {
    let off = SamplingParams::greedy();
    let penalty = unless_off(
        "repetition penalty",
        params.repetition_penalty,
        off.repetition_penalty,
    );
    if params.temperature == 0.0 {
        return listed([Some("greedy".to_owned()), penalty]);
    }
    listed([
        Some(format!("temperature {}", params.temperature)),
        unless_off("top-k", params.top_k, off.top_k),
        unless_off("top-p", params.top_p, off.top_p),
        unless_off("min-p", params.min_p, off.min_p),
        penalty,
        Some(format!("seed {}", params.seed)),
    ])
}

/// `None` if the checkpoint is silent.
fn recommended(defaults: &GenerationConfig) -> Option<String> {
    fn named<T: Display>(name: &str, value: Option<T>) -> Option<String> {
        value.map(|v| format!("{name} {v}"))
    }
    let kind = |draws| if draws { "sampling" } else { "greedy" };
    let line = listed([
        defaults.do_sample.map(|draws| kind(draws).to_owned()),
        named("temperature", defaults.temperature),
        named("top-k", defaults.top_k),
        named("top-p", defaults.top_p),
        named("min-p", defaults.min_p),
        named("repetition penalty", defaults.repetition_penalty),
    ]);
    (!line.is_empty()).then_some(line)
}

fn unless_off<T: PartialEq + Display>(name: &str, value: T, off: T) -> Option<String> {
    (value != off).then(|| format!("{name} {value}"))
}

fn listed<const N: usize>(parts: [Option<String>; N]) -> String {
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Short enough to type again, and exact in every JSON reader.
fn random_seed() -> u64 {
    RandomState::new().hash_one(()) >> 32
}

#[cfg(test)]
mod tests;
