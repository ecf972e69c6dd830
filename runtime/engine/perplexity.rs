//! How well a model predicts a given text, under the context's KV policy.

use super::{CancelFlag, Context, Sequence, Step};
use crate::backend::Backend;
use crate::{Error, Result};

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

    fn note(&mut self, logits: &[f32], target: u32) {
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
/// [`Error::InvalidArgument`] unless `1 <= prefill < tokens.len()`, and as
/// [`Context::prefill`] and [`Context::decode`].
pub fn perplexity<B: Backend>(
    context: &mut Context<B>,
    sequence: &mut Sequence<B>,
    tokens: &[u32],
    prefill: usize,
    cancel: &CancelFlag,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<[Perplexity; 2]> {
    if prefill == 0 || prefill >= tokens.len() {
        return Err(Error::InvalidArgument(format!(
            "a prefill of {prefill} tokens is outside 1 to {}, one less than the text's tokens",
            tokens.len().saturating_sub(1)
        )));
    }
    let total = tokens.len() - 1;
    let vocab = context.model().config().vocab_size;
    let [mut prefilled, mut decoded] = [Perplexity::default(); 2];
    let mut targets = tokens[1..].iter();
    context.prefill_all_logits(sequence, &tokens[..prefill], cancel, |logits| {
        for (row, &target) in logits.chunks_exact(vocab).zip(&mut targets) {
            prefilled.note(row, target);
        }
        progress(prefilled.tokens, total);
    })?;
    for (at, &token) in tokens.iter().enumerate().take(total).skip(prefill) {
        cancel.check()?;
        let sequence = &mut *sequence;
        let logits = context.decode(&mut [Step { sequence, token }])?;
        decoded.note(&logits, tokens[at + 1]);
        progress(at + 1, total);
    }
    Ok([prefilled, decoded])
}

/// `-log softmax(logits)[target]`.
fn nll(logits: &[f32], target: u32) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&l| f64::from(l - max).exp()).sum();
    sum.ln() - f64::from(logits[target as usize] - max)
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
