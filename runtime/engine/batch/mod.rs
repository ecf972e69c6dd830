//! Several texts at once: every step decodes one token of each, and reads a
//! part of the prompts that still wait.

mod idle;
mod text;

use std::sync::Arc;
use std::time::Instant;

use rayon::prelude::*;

use super::continuation::Continuation;
use super::{CancelFlag, Context, FinishReason, GenerateOptions, Piece, Sequence, Stats, Step};
use crate::backend::Backend;
use crate::{Error, Result};
use idle::Idle;
use text::{Ending, Text};

/// While texts are decoded, prompts get this part of a prefill chunk in each
/// step, so that they delay the texts by little.
const SHARED_CHUNK: usize = 4;

/// Names a text of a [`Batch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TextId(u64);

/// What happened to a text.
#[derive(Clone, Debug)]
pub enum Event {
    /// It got longer.
    Piece(Piece),
    /// It ended, and is no longer in the batch.
    Finished(FinishReason, Box<Stats>),
    /// It could not go on, and is no longer in the batch.
    Failed(Arc<Error>),
}

/// Continues several prompts with one context. A text may join and leave
/// between any two steps, whatever the lengths of the others.
pub struct Batch<B: Backend> {
    context: Context<B>,
    /// In the order in which they came.
    texts: Vec<Text<B>>,
    idle: Idle<B>,
    next_id: u64,
}

impl<B: Backend> Batch<B> {
    /// No texts yet; all will be sequences of `context`.
    pub fn new(context: Context<B>) -> Self {
        Self {
            context,
            texts: Vec::new(),
            idle: Idle::new(0),
            next_id: 0,
        }
    }

    /// The same, but the K and V of a text stay when it ends, for a prompt that
    /// begins like it: up to `sequences` sequences, those of texts in the batch
    /// included. K and V of generated tokens are those of decode steps, which a
    /// sparse policy and rounding tell from those of a prompt.
    pub fn reusing(self, sequences: usize) -> Self {
        Self {
            idle: Idle::new(sequences),
            ..self
        }
    }

    /// The context that computes.
    pub fn context(&self) -> &Context<B> {
        &self.context
    }

    /// Texts that have not ended.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Bytes of K, of V, and of hot rows held.
    pub fn kv_bytes(&self) -> [usize; 3] {
        let texts = self.texts.iter().map(|text| &text.sequence);
        let all = texts.chain(self.idle.iter()).map(Sequence::kv_bytes);
        all.fold([0; 3], |sum, bytes| {
            std::array::from_fn(|i| sum[i] + bytes[i])
        })
    }

    /// Takes in a prompt; the following steps read and continue it.
    ///
    /// # Errors
    /// [`Error::ContextFull`], and [`Error::InvalidArgument`] for a prompt
    /// without tokens or with one outside the vocabulary, and for sampling
    /// parameters out of range; [`Error::OutOfMemory`]; [`Error::Device`].
    pub fn add(&mut self, prompt: Vec<u32>, options: GenerateOptions) -> Result<TextId> {
        self.context.model().check_prompt(&prompt)?;
        options.sampling.validate()?;
        let (new, n_ctx) = (prompt.len(), self.context.n_ctx());
        if new > n_ctx {
            return Err(Error::ContextFull {
                used: 0,
                new,
                n_ctx,
            });
        }
        let mut sequence = self.sequence_for(&prompt)?;
        sequence.keep_prefix(&prompt);
        let continuation = Continuation::new(self.context.model(), &sequence, options)?;
        let id = TextId(self.next_id);
        self.next_id += 1;
        self.texts.push(Text {
            id,
            sequence,
            prompt,
            continuation,
            events: Vec::new(),
        });
        Ok(id)
    }

    /// A sequence that begins like `prompt`, if one is idle, or a new one.
    fn sequence_for(&mut self, prompt: &[u32]) -> Result<Sequence<B>> {
        if let Some(sequence) = self.idle.take(prompt, self.texts.len()) {
            return Ok(sequence);
        }
        match self.context.sequence() {
            Err(error) if error.is_out_of_memory() && self.idle.clear() => self.context.sequence(),
            sequence => sequence,
        }
    }

    /// Drops a text, and returns its figures if it was there.
    pub fn remove(&mut self, id: TextId) -> Option<Stats> {
        let at = self.texts.iter().position(|text| text.id == id)?;
        let text = self.texts.remove(at);
        let stats = text.continuation.stats(&text.sequence);
        self.idle.put(text.sequence, self.texts.len());
        Some(stats)
    }

    /// Computes one token of each text whose prompt is read, then at most one
    /// chunk of the other prompts, and says what came of it, text by text.
    ///
    /// Errors come as [`Event::Failed`]. If memory runs out, idle sequences go
    /// first; without any, the text whose prompt is read fails, or the youngest
    /// that is decoded, and the others go on with the next step. After any other
    /// error of a decode step all texts that took part fail.
    pub fn step(&mut self) -> Vec<(TextId, Event)> {
        let decoded = self.decode();
        self.prefill(decoded);
        let (mut events, mut ended) = (Vec::new(), Vec::new());
        for mut text in std::mem::take(&mut self.texts) {
            let ending = text.ending();
            events.extend(text.events.drain(..).map(|event| (text.id, event)));
            match ending {
                None => self.texts.push(text),
                Some(Ending::Finished) => ended.push(text.sequence),
                Some(Ending::Failed) => {}
            }
        }
        for sequence in ended {
            self.idle.put(sequence, self.texts.len());
        }
        events
    }

    /// Whether there was anything to decode.
    fn decode(&mut self) -> bool {
        let mut texts: Vec<&mut Text<B>> =
            self.texts.iter_mut().filter(|t| t.is_decoding()).collect();
        if texts.is_empty() {
            return false;
        }
        let mut steps: Vec<Step<'_, B>> = texts.iter_mut().filter_map(|t| t.next_step()).collect();
        let started = Instant::now();
        let logits = self.context.decode(&mut steps);
        let time = started.elapsed();
        match logits {
            Ok(logits) => {
                let model = self.context.model();
                let rows = logits.par_chunks(model.config().vocab_size);
                model.backend().scope(|| {
                    texts.into_par_iter().zip(rows).for_each(|(text, row)| {
                        text.continuation.note_step(time);
                        text.draw(row);
                    });
                });
            }
            // Every sequence is as before: the next step tries again.
            Err(error) if error.is_out_of_memory() && self.idle.clear() => {}
            Err(error) => {
                let first = match error.is_out_of_memory() {
                    true => texts.len() - 1,
                    false => 0,
                };
                let error = Arc::new(error);
                for text in &mut texts[first..] {
                    text.fail(error.clone());
                }
            }
        }
        true
    }

    /// Reads prompts, the oldest first.
    fn prefill(&mut self, decoded: bool) {
        let mut left = match decoded {
            true => self.context.chunk.div_ceil(SHARED_CHUNK),
            false => self.context.chunk,
        };
        for text in self.texts.iter_mut().filter(|t| !t.is_prefilled()) {
            if left == 0 {
                break;
            }
            let done = text.sequence.len();
            let chunk = left.min(text.prompt.len() - done);
            left -= chunk;
            let started = Instant::now();
            let (sequence, tokens) = (&mut text.sequence, &text.prompt[done..done + chunk]);
            match self
                .context
                .prefill(sequence, tokens, &CancelFlag::default())
            {
                Ok(logits) => {
                    text.continuation.note_prefill(chunk, started.elapsed());
                    if text.is_prefilled() {
                        text.draw(&logits);
                    }
                }
                Err(error) if error.is_out_of_memory() && self.idle.clear() => {}
                Err(error) => text.fail(Arc::new(error)),
            }
        }
    }
}
