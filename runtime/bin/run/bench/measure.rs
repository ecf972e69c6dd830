//! The timed part: repetitions of one case on sequences that are filled already.

use std::time::Instant;

use kcache::backend::Backend;
use kcache::cache::KvCounters;
use kcache::engine::{CancelFlag, Step};
use kcache::{Context, Result, Sequence};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::case::{Case, Work};

/// Sequences of one context, and the tokens that come next.
pub struct Bench<B: Backend> {
    context: Context<B>,
    sequences: Vec<Sequence<B>>,
    tokens: ChaCha8Rng,
}

/// One repetition of a case.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// All sequences from start to end.
    pub seconds: f64,
    /// From the start to the logits after a prompt, the mean over the sequences,
    /// whose prompts are read one after the other.
    pub first_token: Option<f64>,
    /// Steps of the whole batch.
    pub steps: usize,
    /// What the KV policy did in those.
    pub kv: KvCounters,
}

impl<B: Backend> Bench<B> {
    /// Empty sequences of `context`, one for each of the batch.
    ///
    /// # Errors
    /// As [`Context::sequence`].
    pub fn new(context: Context<B>, batch: usize) -> Result<Self> {
        let sequences = (0..batch).map(|_| context.sequence());
        Ok(Self {
            sequences: sequences.collect::<Result<_>>()?,
            context,
            tokens: ChaCha8Rng::seed_from_u64(1),
        })
    }

    /// Makes every sequence hold `case.held()` tokens and times the case once.
    ///
    /// # Errors
    /// As [`Context::prefill`] and [`Context::decode`].
    pub fn repeat(&mut self, case: &Case) -> Result<Sample> {
        self.hold(case.held())?;
        let before = self.counters();
        let mut sample = match case.work {
            Work::Prompt(n) => self.prompts(n)?,
            Work::Generate(n) => self.generate(n)?,
        };
        sample.kv = self.counters().since(&before);
        Ok(sample)
    }

    /// The context.
    pub fn context(&self) -> &Context<B> {
        &self.context
    }

    /// Forgets or fills in what a sequence holds beyond or below `depth` tokens.
    fn hold(&mut self, depth: usize) -> Result<()> {
        for i in 0..self.sequences.len() {
            self.sequences[i].truncate(depth);
            let missing = depth - self.sequences[i].len();
            if missing > 0 {
                let tokens = self.draw(missing);
                self.prefill(i, &tokens)?;
            }
        }
        Ok(())
    }

    fn prompts(&mut self, n: usize) -> Result<Sample> {
        let batch = self.sequences.len();
        let prompts: Vec<Vec<u32>> = (0..batch).map(|_| self.draw(n)).collect();
        let start = Instant::now();
        let mut waited = 0.0;
        for (i, prompt) in prompts.iter().enumerate() {
            self.prefill(i, prompt)?;
            waited += start.elapsed().as_secs_f64();
        }
        Ok(Sample {
            seconds: start.elapsed().as_secs_f64(),
            first_token: Some(waited / batch as f64),
            ..Sample::default()
        })
    }

    fn generate(&mut self, n: usize) -> Result<Sample> {
        let batch = self.sequences.len();
        let tokens = self.draw(n * batch);
        let start = Instant::now();
        for tokens in tokens.chunks(batch) {
            let with = self.sequences.iter_mut().zip(tokens);
            let mut steps: Vec<Step<'_, B>> = with
                .map(|(sequence, &token)| Step { sequence, token })
                .collect();
            self.context.decode(&mut steps)?;
        }
        Ok(Sample {
            seconds: start.elapsed().as_secs_f64(),
            steps: n,
            ..Sample::default()
        })
    }

    fn prefill(&mut self, sequence: usize, tokens: &[u32]) -> Result<()> {
        let sequence = &mut self.sequences[sequence];
        let never = CancelFlag::default();
        self.context.prefill(sequence, tokens, &never).map(drop)
    }

    fn draw(&mut self, n: usize) -> Vec<u32> {
        let vocabulary = self.context.model().config().vocab_size as u32;
        let tokens = &mut self.tokens;
        (0..n).map(|_| tokens.random_range(0..vocabulary)).collect()
    }

    fn counters(&self) -> KvCounters {
        let mut sum = KvCounters::default();
        for sequence in &self.sequences {
            sum.add(&sequence.counters());
        }
        sum
    }
}
