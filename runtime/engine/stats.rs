//! What a generation did and how fast.

use std::time::Duration;

use serde::Serialize;

use crate::cache::KvCounters;

/// Figures of one generation, as `run` prints them.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Stats {
    /// Tokens of the prompt that were computed (not found in the sequence).
    pub prompt_tokens: usize,
    /// Tokens generated.
    pub new_tokens: usize,
    /// Time over the prompt, in seconds.
    pub prefill_seconds: f64,
    /// Time over the decode steps, in seconds.
    pub decode_seconds: f64,
    /// From the start of the prompt to the first token, in seconds.
    pub time_to_first_token: f64,
    /// Decode steps run: the first token needs none.
    pub decode_steps: usize,
    /// Bytes of weights that one decode step reads.
    pub weight_bytes: u64,
    /// What the KV policy did during this generation.
    pub kv: KvCounters,
    /// Bytes of K, of V, and of hot rows held at the end.
    pub kv_bytes: [usize; 3],
    /// FNV-1a over the bits of all logits that a token was drawn from: equal
    /// runs have equal hashes.
    pub logits_hash: u64,
}

impl Stats {
    /// Nothing done yet, with a model whose decode step reads `weight_bytes`.
    pub fn new(weight_bytes: u64) -> Self {
        Self {
            weight_bytes,
            logits_hash: 0xcbf2_9ce4_8422_2325,
            ..Self::default()
        }
    }

    /// Prompt tokens per second; `None` before a prompt was read.
    pub fn prefill_rate(&self) -> Option<f64> {
        rate(self.prompt_tokens, self.prefill_seconds)
    }

    /// Generated tokens per second of decode; `None` before the first step.
    pub fn decode_rate(&self) -> Option<f64> {
        rate(self.decode_steps, self.decode_seconds)
    }

    /// Milliseconds for each output token after the first (TPOT).
    pub fn ms_per_token(&self) -> Option<f64> {
        self.decode_rate().map(|r| 1e3 / r)
    }

    /// Bytes that a decode step reads where it computes: weights, K, and the V
    /// rows at hand; `None` before the first step.
    pub fn near_bytes_per_step(&self) -> Option<f64> {
        let per_step = |bytes: u64| bytes as f64 / self.decode_steps as f64;
        (self.decode_steps > 0).then(|| self.weight_bytes as f64 + per_step(self.kv.bytes_near))
    }

    /// Bytes of V that a decode step fetches from the host; `None` before the first step.
    pub fn fetched_bytes_per_step(&self) -> Option<f64> {
        (self.decode_steps > 0).then(|| self.kv.bytes_fetched as f64 / self.decode_steps as f64)
    }

    pub(crate) fn note_prefill(&mut self, tokens: usize, time: Duration) {
        self.prompt_tokens += tokens;
        self.prefill_seconds += time.as_secs_f64();
        self.time_to_first_token = self.prefill_seconds;
    }

    pub(crate) fn note_step(&mut self, time: Duration) {
        self.decode_steps += 1;
        self.decode_seconds += time.as_secs_f64();
    }

    pub(crate) fn note_logits(&mut self, logits: &[f32]) {
        for logit in logits {
            self.logits_hash ^= u64::from(logit.to_bits());
            self.logits_hash = self.logits_hash.wrapping_mul(0x0100_0000_01b3);
        }
    }
}

fn rate(tokens: usize, seconds: f64) -> Option<f64> {
    (tokens > 0 && seconds > 0.0).then(|| tokens as f64 / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_need_work_and_time() {
        let mut stats = Stats::new(1000);
        assert_eq!((stats.prefill_rate(), stats.ms_per_token()), (None, None));
        stats.note_prefill(100, Duration::from_millis(500));
        stats.note_step(Duration::from_millis(20));
        stats.note_step(Duration::from_millis(30));
        assert_eq!(stats.prefill_rate(), Some(200.0));
        assert_eq!(stats.ms_per_token().map(f64::round), Some(25.0));
        assert_eq!(stats.time_to_first_token, 0.5);
    }

    #[test]
    fn the_hash_sees_every_bit_and_the_order() {
        let hash = |logits: &[f32]| {
            let mut stats = Stats::new(1000);
            stats.note_logits(logits);
            stats.logits_hash
        };
        assert_eq!(hash(&[1.0, 2.0]), hash(&[1.0, 2.0]));
        assert_ne!(hash(&[1.0, 2.0]), hash(&[2.0, 1.0]));
        assert_ne!(hash(&[0.0]), hash(&[-0.0]));
    }
}
