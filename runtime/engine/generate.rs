//! A prompt becomes text, token by token.

use std::time::Instant;

use super::continuation::Continuation;
use super::{CancelFlag, Context, FinishReason, GenerateOptions, Piece, Sequence, Stats, Step};
use crate::Result;
use crate::backend::Backend;

/// A running generation. Borrowing the sequence, it leaves there every token
/// but the last drawn, ready for what follows.
pub struct Generation<'a, B: Backend> {
    context: &'a mut Context<B>,
    sequence: &'a mut Sequence<B>,
    cancel: CancelFlag,
    text: Continuation,
    /// What the next token is drawn from.
    logits: Vec<f32>,
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
        let mut text = Continuation::new(context.model(), sequence, options)?;
        let started = Instant::now();
        let logits = context.prefill(sequence, prompt, &cancel)?;
        text.note_prefill(prompt.len(), started.elapsed());
        Ok(Self {
            context,
            sequence,
            cancel,
            text,
            logits,
        })
    }

    /// The next token and its text, or `None` once the text has ended.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`], or [`crate::Error::InvalidArgument`] for logits that are
    /// not finite. The sequence holds all tokens but the last drawn.
    pub fn next_piece(&mut self) -> Result<Option<Piece>> {
        if self.finish_reason().is_some() {
            return Ok(None);
        }
        let cancelled = self.cancel.is_cancelled();
        let cancelled = cancelled.then_some(FinishReason::Cancelled);
        if let Some(reason) = self.text.limit(self.sequence).or(cancelled) {
            return Ok(self.text.end(reason));
        }
        if let Some(token) = self.text.last() {
            self.step(token)?;
        }
        self.text.draw(&self.logits, self.sequence.tokens())
    }

    /// Why the text ended; `None` while it goes on.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.text.finish_reason()
    }

    /// Figures so far.
    pub fn stats(&self) -> Stats {
        self.text.stats(self.sequence)
    }

    fn step(&mut self, token: u32) -> Result<()> {
        let started = Instant::now();
        let sequence = &mut *self.sequence;
        self.logits = self.context.decode(&mut [Step { sequence, token }])?;
        self.text.note_step(started.elapsed());
        Ok(())
    }
}
