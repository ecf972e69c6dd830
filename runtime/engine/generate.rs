//! A prompt becomes text, token by token.

use std::time::Instant;

use kcache_models::tokenizer::TextStream;
use serde::Serialize;

use super::stop::{Scan, StopStrings};
use super::{CancelFlag, Context, Sampler, SamplingParams, Sequence, Stats, Step};
use crate::Result;
use crate::backend::Backend;
use crate::cache::KvCounters;

/// Settings of a [`Generation`].
#[derive(Clone, Debug)]
pub struct GenerateOptions {
    /// How tokens are drawn.
    pub sampling: SamplingParams,
    /// Tokens to generate at most; `None`: until the context is full.
    pub max_new_tokens: Option<usize>,
    /// Text ends before the first of these.
    pub stop: Vec<String>,
    /// Ids that end the text; they are not shown.
    pub stop_ids: Vec<u32>,
    /// Whether the text goes on from the prompt's last word; a chat reply
    /// starts afresh, so some tokenizers drop the space before its first word.
    pub continues_text: bool,
}

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// A stop id was drawn.
    EndOfText,
    /// A stop string appeared.
    StopString,
    /// `max_new_tokens` were generated.
    Length,
    /// The sequence's context is full.
    ContextFull,
    /// The cancel flag was set.
    Cancelled,
}

/// One generated token and the text that it completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The token; `None` for text that was held back until the end.
    pub token: Option<u32>,
    /// Valid UTF-8, perhaps empty: part of a character or of a stop string waits.
    pub text: String,
}

/// A running generation. Borrowing the sequence, it leaves there every token
/// but the last drawn, ready for what follows.
pub struct Generation<'a, B: Backend> {
    context: &'a mut Context<B>,
    sequence: &'a mut Sequence<B>,
    cancel: CancelFlag,
    sampler: Sampler,
    options: GenerateOptions,
    stream: TextStream,
    stop: StopStrings,
    /// What the next token is drawn from.
    logits: Vec<f32>,
    /// The last token drawn: not yet in the sequence.
    last: Option<u32>,
    finished: Option<FinishReason>,
    stats: Stats,
    counters_before: KvCounters,
}

impl<'a, B: Backend> Generation<'a, B> {
    /// Computes `prompt` after what `sequence` holds.
    ///
    /// # Errors
    /// As [`Context::prefill`], with the sequence in the state stated there, and
    /// [`crate::Error::InvalidArgument`] for sampling parameters out of range.
    pub fn start(
        context: &'a mut Context<B>,
        sequence: &'a mut Sequence<B>,
        prompt: &[u32],
        options: GenerateOptions,
        cancel: CancelFlag,
    ) -> Result<Self> {
        let sampler = Sampler::new(options.sampling.clone())?;
        let counters_before = sequence.counters();
        let mut stats = Stats::new(context.model().step_weight_bytes());
        let started = Instant::now();
        let logits = context.prefill(sequence, prompt, &cancel)?;
        stats.note_prefill(prompt.len(), started.elapsed());
        let tokenizer = context.model().tokenizer();
        Ok(Self {
            stream: match options.continues_text {
                true => tokenizer.continuation(),
                false => tokenizer.stream(),
            },
            stop: StopStrings::new(options.stop.iter().cloned()),
            context,
            sequence,
            cancel,
            sampler,
            options,
            logits,
            last: None,
            finished: None,
            stats,
            counters_before,
        })
    }

    /// The next token and its text, or `None` once the text has ended.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`], or [`crate::Error::InvalidArgument`] for logits that are
    /// not finite. The sequence holds all tokens but the last drawn.
    pub fn next_piece(&mut self) -> Result<Option<Piece>> {
        if self.finished.is_some() {
            return Ok(None);
        }
        if self.options.max_new_tokens == Some(self.stats.new_tokens) {
            return Ok(self.end(FinishReason::Length));
        }
        if self.cancel.is_cancelled() {
            return Ok(self.end(FinishReason::Cancelled));
        }
        if let Some(token) = self.last {
            if self.sequence.len() == self.sequence.n_ctx() {
                return Ok(self.end(FinishReason::ContextFull));
            }
            self.step(token)?;
        }
        let token = self.sampler.sample(&self.logits, self.sequence.tokens())?;
        self.stats.note_logits(&self.logits);
        if self.options.stop_ids.contains(&token) {
            return Ok(self.end(FinishReason::EndOfText));
        }
        self.last = Some(token);
        self.stats.new_tokens += 1;
        match self.stop.push(&self.stream.push(token)?) {
            Scan::Continue(text) => Ok(Some(Piece {
                token: Some(token),
                text,
            })),
            Scan::Stop(text) => {
                self.finished = Some(FinishReason::StopString);
                Ok(Some(Piece {
                    token: Some(token),
                    text,
                }))
            }
        }
    }

    /// Why the text ended; `None` while it goes on.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.finished
    }

    /// Figures so far.
    pub fn stats(&self) -> Stats {
        let mut stats = self.stats.clone();
        stats.kv = self.sequence.counters().since(&self.counters_before);
        stats.kv_bytes = self.sequence.kv_bytes();
        stats
    }

    fn step(&mut self, token: u32) -> Result<()> {
        let started = Instant::now();
        let sequence = &mut *self.sequence;
        self.logits = self.context.decode(&mut [Step { sequence, token }])?;
        self.stats.note_step(started.elapsed());
        Ok(())
    }

    /// Ends the text; what was held back comes out.
    fn end(&mut self, reason: FinishReason) -> Option<Piece> {
        self.finished = Some(reason);
        let fresh = self.context.model().tokenizer().continuation();
        let rest = std::mem::replace(&mut self.stream, fresh).finish();
        let held = match self.stop.push(&rest) {
            Scan::Continue(text) => text + &self.stop.finish(),
            Scan::Stop(text) => text,
        };
        (!held.is_empty()).then_some(Piece {
            token: None,
            text: held,
        })
    }
}
