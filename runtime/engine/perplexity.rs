//! How well a model predicts a given text, under the context's KV policy.

use super::compare::{Candidate, compare};
use super::{CancelFlag, Context, Sequence};
use crate::Result;
use crate::backend::Backend;

/// Sum of the negative log-likelihoods of predicted tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Perplexity {
    /// In nats.
    pub nll: f64,
    /// Tokens predicted.
    pub tokens: usize,
}

impl Perplexity {
    /// Nats per token.
    pub fn mean_nll(&self) -> f64 {
        self.nll / self.tokens as f64
    }

    /// `exp` of the mean.
    pub fn value(&self) -> f64 {
        self.mean_nll().exp()
    }

    pub(super) fn note(&mut self, logits: &[f32], target: u32) {
        self.nll += nll(logits, target);
        self.tokens += 1;
    }
}

/// Scores `tokens` by teacher forcing: the first `prefill` tokens are read as
/// one prompt (dense attention), each later one by a decode step under the
/// context's policy. Returns the figures of the predictions made while
/// prefilling and while decoding; the last token is only predicted.
///
/// `progress` is called with the tokens read and their total.
///
/// # Errors
/// As [`compare`].
pub fn perplexity<B: Backend>(
    context: &mut Context<B>,
    sequence: &mut Sequence<B>,
    tokens: &[u32],
    prefill: usize,
    cancel: &CancelFlag,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<[Perplexity; 2]> {
    let candidate = Candidate { context, sequence };
    let scores = compare(&mut [candidate], tokens, prefill, cancel, progress)?;
    let only = scores.into_iter().next().unwrap_or_default();
    Ok([only.prefilled, only.decoded])
}

/// `-log softmax(logits)[target]`.
fn nll(logits: &[f32], target: u32) -> f64 {
    log_sum_exp(logits) - f64::from(logits[target as usize])
}

/// `log Σ exp(logits)`.
pub(super) fn log_sum_exp(logits: &[f32]) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&l| f64::from(l - max).exp()).sum();
    sum.ln() + f64::from(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nll_is_the_negative_log_of_the_softmax() {
        assert!((nll(&[0.0; 8], 3) - 8f64.ln()).abs() < 1e-12);
        assert!(nll(&[100.0, -100.0], 0) < 1e-12);
        assert!((nll(&[100.0, -100.0], 1) - 200.0).abs() < 1e-4);
    }
}
