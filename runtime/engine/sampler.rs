//! From logits to a token.

use kcache_models::GenerationConfig;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How tokens are drawn. The steps apply in the order of the fields, as in
/// Hugging Face transformers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SamplingParams {
    /// Divides positive and multiplies negative logits of tokens already in the
    /// sequence (CTRL, arXiv 1909.05858); 1 is off.
    pub repetition_penalty: f32,
    /// Divides the logits; 0 takes the most likely token.
    pub temperature: f32,
    /// Keeps the most likely tokens; 0 is off.
    pub top_k: usize,
    /// Keeps the fewest tokens that hold this probability; 1 is off.
    pub top_p: f32,
    /// Drops tokens below this share of the most likely one's probability; 0 is off.
    pub min_p: f32,
    /// Seed of the draws.
    pub seed: u64,
}

impl SamplingParams {
    /// The most likely token, always.
    pub fn greedy() -> Self {
        Self {
            repetition_penalty: 1.0,
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            seed: 0,
        }
    }

    /// What a checkpoint recommends: greedy unless it says to sample, and
    /// nothing cut off where it is silent. The seed is 0.
    pub fn recommended(generation: &GenerationConfig) -> Self {
        let off = Self::greedy();
        Self {
            repetition_penalty: generation.repetition_penalty.unwrap_or(1.0),
            temperature: match generation.do_sample {
                Some(true) => generation.temperature.unwrap_or(1.0),
                _ => off.temperature,
            },
            top_k: generation.top_k.unwrap_or(off.top_k),
            top_p: generation.top_p.unwrap_or(off.top_p),
            min_p: generation.min_p.unwrap_or(off.min_p),
            ..off
        }
    }

    /// Checks all ranges.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] naming the value and its range.
    pub fn validate(&self) -> Result<()> {
        let check = |name: &str, value: f32, ok: bool, range: &str| {
            if ok {
                Ok(())
            } else {
                Err(Error::InvalidArgument(format!(
                    "{name} must be {range}, got {value}"
                )))
            }
        };
        let Self {
            repetition_penalty: penalty,
            temperature,
            top_p,
            min_p,
            ..
        } = *self;
        check(
            "repetition penalty",
            penalty,
            penalty.is_finite() && penalty > 0.0,
            "a finite number above 0",
        )?;
        check(
            "temperature",
            temperature,
            temperature.is_finite() && temperature >= 0.0,
            "a finite number of at least 0",
        )?;
        check(
            "top-p",
            top_p,
            top_p > 0.0 && top_p <= 1.0,
            "above 0 and at most 1",
        )?;
        check("min-p", min_p, (0.0..=1.0).contains(&min_p), "from 0 to 1")
    }
}

/// Draws tokens; the same parameters and logits give the same tokens.
pub struct Sampler {
    params: SamplingParams,
    rng: ChaCha8Rng,
}

/// A token and its logit, later its probability.
type Candidate = (u32, f32);

impl Sampler {
    /// # Errors
    /// As [`SamplingParams::validate`].
    pub fn new(params: SamplingParams) -> Result<Self> {
        params.validate()?;
        Ok(Self {
            rng: ChaCha8Rng::seed_from_u64(params.seed),
            params,
        })
    }

    /// Draws the token that follows `context` from `logits`, `[vocab]`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if a logit is NaN or none is finite, which
    /// means that the weights or the computation are broken.
    pub fn sample(&mut self, logits: &[f32], context: &[u32]) -> Result<u32> {
        check_logits(logits)?;
        let mut logits = logits.to_vec();
        penalise(&mut logits, context, self.params.repetition_penalty);
        if self.params.temperature == 0.0 {
            return Ok(argmax(&logits));
        }
        let mut candidates = self.most_likely(&logits);
        to_probabilities(&mut candidates, self.params.temperature);
        cut_top_p(&mut candidates, self.params.top_p);
        cut_min_p(&mut candidates, self.params.min_p);
        Ok(self.draw(&candidates))
    }

    /// The top-k candidates, or all, in descending order.
    fn most_likely(&self, logits: &[f32]) -> Vec<Candidate> {
        let descending = |a: &Candidate, b: &Candidate| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        let mut candidates: Vec<Candidate> = (0..).zip(logits.iter().copied()).collect();
        let k = self.params.top_k;
        if k > 0 && k < candidates.len() {
            candidates.select_nth_unstable_by(k - 1, descending);
            candidates.truncate(k);
        }
        candidates.sort_unstable_by(descending);
        candidates
    }

    fn draw(&mut self, candidates: &[Candidate]) -> u32 {
        let total: f64 = candidates.iter().map(|c| f64::from(c.1)).sum();
        let mut left = self.rng.random::<f64>() * total;
        for &(token, p) in candidates {
            left -= f64::from(p);
            if left < 0.0 {
                return token;
            }
        }
        // Rounding can leave a little over: it belongs to the most likely token.
        candidates.first().map_or(0, |c| c.0)
    }
}

fn check_logits(logits: &[f32]) -> Result<()> {
    if logits.iter().any(|l| l.is_nan()) || !logits.iter().any(|l| l.is_finite()) {
        return Err(Error::InvalidArgument(
            "the logits are not finite: weights or computation are broken".into(),
        ));
    }
    Ok(())
}

fn penalise(logits: &mut [f32], context: &[u32], penalty: f32) {
    if penalty == 1.0 {
        return;
    }
    let mut seen = vec![false; logits.len()];
    for &token in context {
        let Some(logit) = logits.get_mut(token as usize) else {
            continue;
        };
        if !std::mem::replace(&mut seen[token as usize], true) {
            *logit = if *logit > 0.0 {
                *logit / penalty
            } else {
                *logit * penalty
            };
        }
    }
}

/// The first of the largest.
pub fn argmax(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (i, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = i;
        }
    }
    best as u32
}

fn to_probabilities(candidates: &mut [Candidate], temperature: f32) {
    let max = candidates.first().map_or(0.0, |c| c.1);
    let mut sum = 0.0;
    for (_, x) in candidates.iter_mut() {
        *x = ((*x - max) / temperature).exp();
        sum += *x;
    }
    candidates.iter_mut().for_each(|c| c.1 /= sum);
}

fn cut_top_p(candidates: &mut Vec<Candidate>, top_p: f32) {
    if top_p < 1.0 {
        let mut sum = 0.0;
        let kept = candidates.iter().take_while(|c| {
            let before = sum;
            sum += c.1;
            before < top_p
        });
        let kept = kept.count();
        candidates.truncate(kept.max(1));
    }
}

fn cut_min_p(candidates: &mut Vec<Candidate>, min_p: f32) {
    let floor = min_p * candidates.first().map_or(0.0, |c| c.1);
    let kept = candidates.partition_point(|c| c.1 >= floor);
    candidates.truncate(kept.max(1));
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 4] = [1.0, 3.0, 2.0, -1.0];

    fn counts(params: SamplingParams, context: &[u32]) -> [u32; 4] {
        let mut sampler = Sampler::new(params).unwrap();
        let mut counts = [0; 4];
        for _ in 0..10_000 {
            counts[sampler.sample(&LOGITS, context).unwrap() as usize] += 1;
        }
        counts
    }

    fn at(temperature: f32) -> SamplingParams {
        SamplingParams {
            temperature,
            seed: 3,
            ..SamplingParams::greedy()
        }
    }

    #[test]
    fn draws_follow_the_softmax() {
        let z: f32 = LOGITS.iter().map(|l| l.exp()).sum();
        for (count, logit) in counts(at(1.0), &[]).iter().zip(LOGITS) {
            let expected = 10_000.0 * logit.exp() / z;
            assert!((*count as f32 - expected).abs() < 5.0 * expected.sqrt().max(10.0));
        }
    }

    #[test]
    fn each_cut_leaves_the_likely_tokens() {
        let top_k = SamplingParams {
            top_k: 2,
            ..at(1.0)
        };
        let top_p = SamplingParams {
            top_p: 0.6,
            ..at(1.0)
        };
        let min_p = SamplingParams {
            min_p: 0.3,
            ..at(1.0)
        };
        assert_eq!(counts(at(0.0), &[]), [0, 10_000, 0, 0]);
        let [a, b, c, d] = counts(top_k, &[]);
        assert!(a == 0 && d == 0 && b > c && c > 0);
        assert_eq!(counts(top_p, &[]), [0, 10_000, 0, 0]);
        let [a, b, c, d] = counts(min_p, &[]);
        assert!(a == 0 && d == 0 && b > c && c > 0);
    }

    #[test]
    fn the_penalty_counts_a_token_once_and_lowers_negative_logits() {
        let mut logits = LOGITS;
        penalise(&mut logits, &[1, 1, 3], 2.0);
        assert_eq!(logits, [1.0, 1.5, 2.0, -2.0]);
    }

    #[test]
    fn ties_and_infinities_are_settled() {
        assert_eq!(argmax(&[0.0, 2.0, 2.0]), 1);
        let mut sampler = Sampler::new(at(1.0)).unwrap();
        let inf = f32::NEG_INFINITY;
        assert_eq!(sampler.sample(&[inf, 0.0, inf], &[]).unwrap(), 1);
        assert!(sampler.sample(&[inf, inf], &[]).is_err());
        assert!(sampler.sample(&[0.0, f32::NAN], &[]).is_err());
    }

    #[test]
    fn parameters_out_of_range_are_refused() {
        for params in [
            at(-1.0),
            at(f32::NAN),
            SamplingParams {
                top_p: 0.0,
                ..at(1.0)
            },
            SamplingParams {
                top_p: f32::NAN,
                ..at(1.0)
            },
            SamplingParams {
                min_p: 1.5,
                ..at(1.0)
            },
            SamplingParams {
                repetition_penalty: 0.0,
                ..at(1.0)
            },
        ] {
            assert!(Sampler::new(params.clone()).is_err(), "{params:?}");
        }
    }
}
