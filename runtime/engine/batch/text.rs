//! One text of a batch.

use std::sync::Arc;

use super::{Event, TextId};
use crate::backend::Backend;
use crate::engine::continuation::Continuation;
use crate::engine::{Sequence, Step};
use crate::{Error, Result};

/// A text of the batch.
pub(super) struct Text<B: Backend> {
    pub id: TextId,
    pub sequence: Sequence<B>,
    /// Its first tokens, as many as `sequence` holds, are computed.
    pub prompt: Vec<u32>,
    pub continuation: Continuation,
    /// What happened in this step.
    pub events: Vec<Event>,
}

/// How a text ended.
pub(super) enum Ending {
    Finished,
    Failed,
}

impl<B: Backend> Text<B> {
    /// How it ended in this step, if it did.
    pub fn ending(&self) -> Option<Ending> {
        self.events.iter().find_map(|event| match event {
            Event::Piece(_) => None,
            Event::Finished(..) => Some(Ending::Finished),
            Event::Failed(_) => Some(Ending::Failed),
        })
    }

    /// Whether the whole prompt is computed.
    pub fn is_prefilled(&self) -> bool {
        self.sequence.len() >= self.prompt.len()
    }

    /// Whether a token was drawn that is to be computed.
    pub fn is_decoding(&self) -> bool {
        self.continuation.last().is_some()
    }

    /// What is to be computed next.
    pub fn next_step(&mut self) -> Option<Step<'_, B>> {
        let token = self.continuation.last()?;
        let sequence = &mut self.sequence;
        Some(Step { sequence, token })
    }

    /// Draws what follows from `logits`, and ends the text if nothing may come after.
    pub fn draw(&mut self, logits: &[f32]) {
        if let Err(error) = self.try_draw(logits) {
            self.fail(Arc::new(error));
        }
    }

    fn try_draw(&mut self, logits: &[f32]) -> Result<()> {
        let text = &mut self.continuation;
        let mut pieces = [None, None];
        // Later limits were looked at when the last token was drawn.
        let none_wanted = text.last().is_none() && text.limit(&self.sequence).is_some();
        if !none_wanted {
            pieces[0] = text.draw(logits, self.sequence.tokens())?;
        }
        if let (None, Some(reason)) = (text.finish_reason(), text.limit(&self.sequence)) {
            pieces[1] = text.end(reason);
        }
        let pieces = pieces.into_iter().flatten();
        self.events.extend(pieces.map(Event::Piece));
        if let Some(reason) = text.finish_reason() {
            let stats = Box::new(text.stats(&self.sequence));
            self.events.push(Event::Finished(reason, stats));
        }
        Ok(())
    }

    /// Ends the text by an error.
    pub fn fail(&mut self, error: Arc<Error>) {
        self.events.push(Event::Failed(error));
    }
}
