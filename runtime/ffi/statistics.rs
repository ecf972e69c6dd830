//! How a generation went.

use super::versioned::Versioned;
use crate::engine::{FinishReason, Stats};

/// Why a text ended.
#[repr(C)]
#[derive(Clone, Copy)]
pub enum kcache_finish {
    /// An end token was drawn.
    EndOfText = 0,
    /// A stop string appeared.
    StopString = 1,
    /// max_new_tokens were generated.
    Length = 2,
    /// The sequence's context is full.
    ContextFull = 3,
    /// A callback or kcache_context_cancel() asked for a stop.
    Cancelled = 4,
}

/// Figures of one kcache_generate().
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct kcache_statistics {
    /// sizeof(kcache_statistics), set by the caller
    pub struct_size: usize,
    /// Tokens of the prompt that were computed.
    pub prompt_tokens: u64,
    /// Tokens generated.
    pub new_tokens: u64,
    /// Decode steps run: the first token needs none.
    pub decode_steps: u64,
    /// Time over the prompt.
    pub prefill_seconds: f64,
    /// Time over the decode steps.
    pub decode_seconds: f64,
    /// From the start of the prompt to the first token.
    pub time_to_first_token: f64,
    /// Bytes that a decode step read where it computes: weights, K, V at hand.
    pub near_bytes_per_step: f64,
    /// Bytes of V that a decode step fetched from the host.
    pub fetched_bytes_per_step: f64,
    /// Rows of V that were selected beside sinks and window.
    pub rows_needed: u64,
    /// Of those, rows found among the hot rows.
    pub rows_hit: u64,
    /// Mean rows of V that a KV head used in a step; 0 under FULL.
    pub mean_rows: f64,
    /// The rows that 99% of the KV heads did not exceed in a step; 0 under FULL.
    pub p99_rows: u64,
    /// Equal runs have equal hashes: of all logits that a token was drawn from.
    pub logits_hash: u64,
    /// A kcache_finish.
    pub finish: u32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: numbers, and a pair of 32 bits.
unsafe impl Versioned for kcache_statistics {
    const NAME: &'static str = "kcache_statistics";
    const FIRST_SIZE: usize = size_of::<Self>();

    fn initial() -> Self {
        Self::default()
    }
}

impl kcache_statistics {
    /// Of a generation that ended for `reason`.
    pub fn new(reason: FinishReason, stats: &Stats) -> Self {
        let finish = match reason {
            FinishReason::EndOfText => kcache_finish::EndOfText,
            FinishReason::StopString => kcache_finish::StopString,
            FinishReason::Length => kcache_finish::Length,
            FinishReason::ContextFull => kcache_finish::ContextFull,
            FinishReason::Cancelled => kcache_finish::Cancelled,
        };
        Self {
            struct_size: 0,
            prompt_tokens: stats.prompt_tokens as u64,
            new_tokens: stats.new_tokens as u64,
            decode_steps: stats.decode_steps as u64,
            prefill_seconds: stats.prefill_seconds,
            decode_seconds: stats.decode_seconds,
            time_to_first_token: stats.time_to_first_token,
            near_bytes_per_step: stats.near_bytes_per_step().unwrap_or(0.0),
            fetched_bytes_per_step: stats.fetched_bytes_per_step().unwrap_or(0.0),
            rows_needed: stats.kv.rows_needed,
            rows_hit: stats.kv.rows_hit,
            mean_rows: stats.kv.mean_set().unwrap_or(0.0),
            p99_rows: stats.kv.p99_set().unwrap_or(0) as u64,
            logits_hash: stats.logits_hash,
            finish: finish as u32,
            reserved: 0,
        }
    }
}
