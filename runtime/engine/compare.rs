//! KV policies side by side: one text, teacher-forced, under each of them.

use super::perplexity::{Perplexity, log_sum_exp};
use super::{CancelFlag, Context, Sequence, Step};
use crate::backend::Backend;
use crate::{Error, Result};

/// An empty sequence and the context that scores a text in it, by its policy.
pub struct Candidate<'a, B: Backend> {
    /// Computes.
    pub context: &'a mut Context<B>,
    /// Holds the text so far.
    pub sequence: &'a mut Sequence<B>,
}

/// How a text went under one policy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Score {
    /// Predictions made while the first tokens were read as a prompt.
    pub prefilled: Perplexity,
    /// Predictions made by decode steps.
    pub decoded: Perplexity,
    /// The decode steps beside those of the first candidate.
    pub agreement: Agreement,
}

/// How the logits of decode steps agree with another policy's on the same text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Agreement {
    /// Steps compared.
    pub steps: usize,
    /// Steps with the same most likely token.
    pub same: usize,
    /// The first step without.
    pub first_split: Option<usize>,
    /// Sum of the Kullback-Leibler divergences from the other's probabilities, in nats.
    pub divergence: f64,
}

impl Agreement {
    /// Share of the steps with the same most likely token; `None` without steps.
    pub fn share(&self) -> Option<f64> {
        (self.steps > 0).then(|| self.same as f64 / self.steps as f64)
    }

    /// Nats a step; `None` without steps.
    pub fn mean_divergence(&self) -> Option<f64> {
        (self.steps > 0).then(|| self.divergence / self.steps as f64)
    }

    fn note(&mut self, logits: &[f32], other: &[f32]) {
        if argmax(logits) == argmax(other) {
            self.same += 1;
        } else {
            self.first_split.get_or_insert(self.steps);
        }
        self.steps += 1;
        self.divergence += divergence(other, logits);
    }
}

/// Scores `tokens` under every candidate: the first `prefill` tokens are read as
/// one prompt (dense attention), each later one by a decode step under the
/// candidate's policy. The last token is only predicted.
///
/// `progress` is called with the tokens read, over all candidates, and their total.
///
/// # Errors
/// [`Error::InvalidArgument`] unless `1 <= prefill < tokens.len()`, and as
/// [`Context::prefill`] and [`Context::decode`].
pub fn compare<B: Backend>(
    candidates: &mut [Candidate<'_, B>],
    tokens: &[u32],
    prefill: usize,
    cancel: &CancelFlag,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Score>> {
    if prefill == 0 || prefill >= tokens.len() {
        return Err(Error::InvalidArgument(format!(
            "a prefill of {prefill} tokens is outside 1 to {}, one less than the text's tokens",
            tokens.len().saturating_sub(1)
        )));
    }
    let total = candidates.len() * (tokens.len() - 1);
    let mut scores = vec![Score::default(); candidates.len()];
    for (at, (candidate, score)) in candidates.iter_mut().zip(&mut scores).enumerate() {
        let before = at * prefill;
        score.prefilled = candidate.read(tokens, prefill, cancel, &mut |done| {
            progress(before + done, total);
        })?;
    }
    for at in prefill..tokens.len() - 1 {
        cancel.check()?;
        let mut first = Vec::new();
        for (candidate, score) in candidates.iter_mut().zip(&mut scores) {
            let (sequence, token) = (&mut *candidate.sequence, tokens[at]);
            let logits = candidate.context.decode(&mut [Step { sequence, token }])?;
            score.decoded.note(&logits, tokens[at + 1]);
            if first.is_empty() {
                first.clone_from(&logits);
            }
            score.agreement.note(&logits, &first);
        }
        progress(scores.len() * (at + 1), total);
    }
    Ok(scores)
}

impl<B: Backend> Candidate<'_, B> {
    fn read(
        &mut self,
        tokens: &[u32],
        prefill: usize,
        cancel: &CancelFlag,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Perplexity> {
        let vocab = self.context.model().config().vocab_size;
        let (mut read, mut targets) = (Perplexity::default(), tokens[1..].iter());
        let prompt = &tokens[..prefill];
        self.context
            .prefill_all_logits(self.sequence, prompt, cancel, |logits| {
                for (row, &target) in logits.chunks_exact(vocab).zip(&mut targets) {
                    read.note(row, target);
                }
                progress(read.tokens);
            })?;
        Ok(read)
    }
}

/// `Σ p log(p / q)` of the softmaxes `p` and `q` of logits.
fn divergence(p: &[f32], q: &[f32]) -> f64 {
    let (p_norm, q_norm) = (log_sum_exp(p), log_sum_exp(q));
    let terms = p.iter().zip(q).map(|(&p, &q)| {
        let (p, q) = (f64::from(p) - p_norm, f64::from(q) - q_norm);
        p.exp() * (p - q)
    });
    // Rounding may leave it a little below 0.
    terms.sum::<f64>().max(0.0)
}

fn argmax(logits: &[f32]) -> Option<usize> {
    (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]).then(b.cmp(&a)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divergence_is_that_of_the_probabilities() {
        let logits = |p: [f32; 2]| p.map(|p| p.ln() + 3.0);
        let found = divergence(&logits([0.5, 0.5]), &logits([0.25, 0.75]));
        let expected = 0.5 * (0.5f64 / 0.25).ln() + 0.5 * (0.5f64 / 0.75).ln();
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        assert_eq!(divergence(&[1.0, 2.0], &[1.0, 2.0]), 0.0);
    }

    #[test]
    fn agreement_counts_steps_and_finds_the_first_split() {
        let mut agreement = Agreement::default();
        assert_eq!(agreement.share(), None);
        agreement.note(&[0.0, 1.0], &[0.0, 1.0]);
        agreement.note(&[1.0, 0.0], &[0.0, 1.0]);
        agreement.note(&[1.0, 1.0], &[1.0, 0.0]);
        assert_eq!((agreement.same, agreement.first_split), (2, Some(1)));
        assert!(agreement.mean_divergence() > Some(0.1));
    }
}
