//! What makes text of logits: the state of one text, apart from the sequence
//! that holds its tokens and the context that computes them.

use std::time::Duration;

use kcache_models::tokenizer::{TextStream, Tokenizer};
use serde::Serialize;

use super::stop::{Scan, StopStrings};
use super::{Model, Sampler, SamplingParams, Sequence, Stats};
use crate::Result;
use crate::backend::Backend;
use crate::cache::KvCounters;

/// How a prompt is continued.
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

/// Why a text ended.
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

/// One text in the making. Its owner computes logits; this draws from them.
pub(crate) struct Continuation {
    sampler: Sampler,
    options: GenerateOptions,
    tokenizer: Tokenizer,
    stream: TextStream,
    stop: StopStrings,
    /// The last token drawn: not yet in the sequence.
    last: Option<u32>,
    finished: Option<FinishReason>,
    stats: Stats,
    counters_before: KvCounters,
}

impl Continuation {
    /// Nothing drawn yet, after what `sequence` holds.
    ///
    /// # Errors
    /// [`crate::Error::InvalidArgument`] for sampling parameters out of range.
    pub fn new<B: Backend>(
        model: &Model<B>,
        sequence: &Sequence<B>,
        options: GenerateOptions,
    ) -> Result<Self> {
        let tokenizer = model.tokenizer().clone();
        Ok(Self {
            sampler: Sampler::new(options.sampling.clone())?,
            stream: match options.continues_text {
                true => tokenizer.continuation(),
                false => tokenizer.stream(),
            },
            stop: StopStrings::new(options.stop.iter().cloned()),
            tokenizer,
            options,
            last: None,
            finished: None,
            stats: Stats::new(model.step_weight_bytes()),
            counters_before: sequence.counters(),
        })
    }

    /// The token that the next logits need computed; `None` before the first draw.
    pub fn last(&self) -> Option<u32> {
        self.last
    }

    /// Why the text ended; `None` while it goes on.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.finished
    }

    /// Why no further token may be drawn, if none may.
    pub fn limit<B: Backend>(&self, sequence: &Sequence<B>) -> Option<FinishReason> {
        if self.options.max_new_tokens == Some(self.stats.new_tokens) {
            return Some(FinishReason::Length);
        }
        let full = self.last.is_some() && sequence.len() == sequence.n_ctx();
        full.then_some(FinishReason::ContextFull)
    }

    /// Draws from `logits`, `[vocab]`, the token that follows `tokens`. `None`:
    /// the text has ended and nothing was held back.
    ///
    /// # Errors
    /// As [`Sampler::sample`].
    pub fn draw(&mut self, logits: &[f32], tokens: &[u32]) -> Result<Option<Piece>> {
        let token = self.sampler.sample(logits, tokens)?;
        self.stats.note_logits(logits);
        if self.options.stop_ids.contains(&token) {
            return Ok(self.end(FinishReason::EndOfText));
        }
        self.last = Some(token);
        self.stats.new_tokens += 1;
        let text = match self.stop.push(&self.stream.push(token)?) {
            Scan::Continue(text) => text,
            Scan::Stop(text) => {
                self.finished = Some(FinishReason::StopString);
                text
            }
        };
        Ok(Some(Piece {
            token: Some(token),
            text,
        }))
    }

    /// Ends the text; what was held back comes out.
    pub fn end(&mut self, reason: FinishReason) -> Option<Piece> {
        self.finished = Some(reason);
        let fresh = self.tokenizer.continuation();
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

    /// Notes that `tokens` of the prompt were computed in `time`.
    pub fn note_prefill(&mut self, tokens: usize, time: Duration) {
        self.stats.note_prefill(tokens, time);
    }

    /// Notes that the last token was computed in `time`.
    pub fn note_step(&mut self, time: Duration) {
        self.stats.note_step(time);
    }

    /// Figures so far, with those of `sequence`.
    pub fn stats<B: Backend>(&self, sequence: &Sequence<B>) -> Stats {
        let mut stats = self.stats.clone();
        stats.kv = sequence.counters().since(&self.counters_before);
        stats.kv_bytes = sequence.kv_bytes();
        stats
    }
}
