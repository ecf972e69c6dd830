//! Several texts at once: every step decodes one token of each, and reads a
//! part of the prompts that still wait.

use std::sync::Arc;
use std::time::Instant;

use rayon::prelude::*;

use super::continuation::Continuation;
use super::{CancelFlag, Context, FinishReason, GenerateOptions, Piece, Sequence, Stats, Step};
use crate::backend::Backend;
use crate::{Error, Result};

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
    next_id: u64,
}

/// A text of the batch.
struct Text<B: Backend> {
    id: TextId,
    sequence: Sequence<B>,
    /// Its first tokens, as many as `sequence` holds, are computed.
    prompt: Vec<u32>,
    continuation: Continuation,
    /// What happened in this step.
    events: Vec<Event>,
}

impl<B: Backend> Batch<B> {
    /// No texts yet; all will be sequences of `context`.
    pub fn new(context: Context<B>) -> Self {
        Self {
            context,
            texts: Vec::new(),
            next_id: 0,
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

    /// Bytes of K, of V, and of hot rows that the texts hold.
    pub fn kv_bytes(&self) -> [usize; 3] {
        let all = self.texts.iter().map(|text| text.sequence.kv_bytes());
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
        let sequence = self.context.sequence()?;
        let model = self.context.model();
        model.check_prompt(&prompt)?;
        self.context.check_sequence(&sequence, prompt.len())?;
        let continuation = Continuation::new(model, &sequence, options)?;
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

    /// Drops a text, and returns its figures if it was there.
    pub fn remove(&mut self, id: TextId) -> Option<Stats> {
        let at = self.texts.iter().position(|text| text.id == id)?;
        let text = self.texts.remove(at);
        Some(text.continuation.stats(&text.sequence))
    }

    /// Computes one token of each text whose prompt is read, then at most one
    /// chunk of the other prompts, and says what came of it, text by text.
    ///
    /// Errors come as [`Event::Failed`]. If memory runs out while decoding, the
    /// youngest text fails and the others go on with the next step; after any
    /// other error of a decode step all texts that took part fail.
    pub fn step(&mut self) -> Vec<(TextId, Event)> {
        let decoded = self.decode();
        self.prefill(decoded);
        let mut events = Vec::new();
        self.texts.retain_mut(|text| {
            let ended = |event: &Event| !matches!(event, Event::Piece(_));
            let gone = text.events.iter().any(ended);
            events.extend(text.events.drain(..).map(|event| (text.id, event)));
            !gone
        });
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
                Err(error) => text.fail(Arc::new(error)),
            }
        }
    }
}

impl<B: Backend> Text<B> {
    fn is_prefilled(&self) -> bool {
        self.sequence.len() >= self.prompt.len()
    }

    /// Whether a token was drawn that is to be computed.
    fn is_decoding(&self) -> bool {
        self.continuation.last().is_some()
    }

    fn next_step(&mut self) -> Option<Step<'_, B>> {
        let token = self.continuation.last()?;
        let sequence = &mut self.sequence;
        Some(Step { sequence, token })
    }

    /// Draws what follows from `logits`, and ends the text if nothing may come after.
    fn draw(&mut self, logits: &[f32]) {
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

    fn fail(&mut self, error: Arc<Error>) {
        self.events.push(Event::Failed(error));
    }
}
