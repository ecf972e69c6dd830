//! A prompt, in chunks: dense causal attention, whatever the KV policy.

use super::layer::{LogitRows, Workspace};
use super::{CancelFlag, Context, Model, Sequence};
use crate::Result;
use crate::backend::{Backend, SequenceCache};
use crate::trace::{self, Range};

impl<B: Backend> Context<B> {
    /// Appends `tokens` to `sequence` and returns the logits after the last, `[vocab]`.
    ///
    /// # Errors
    /// [`crate::Error::ContextFull`] and [`crate::Error::InvalidArgument`] (no tokens, one outside
    /// the vocabulary, a sequence of another model) before any work; [`crate::Error::OutOfMemory`];
    /// [`crate::Error::Cancelled`] between layers. After an error the sequence holds
    /// the tokens of all finished chunks and can go on from there.
    pub fn prefill(
        &mut self,
        sequence: &mut Sequence<B>,
        tokens: &[u32],
        cancel: &CancelFlag,
    ) -> Result<Vec<f32>> {
        let mut last = Vec::new();
        self.prefill_chunks(sequence, tokens, LogitRows::Last, cancel, |logits| {
            last = logits
        })?;
        Ok(last)
    }

    /// As [`Context::prefill`], but hands the logits after every token to
    /// `visit`, chunk by chunk: `[tokens of the chunk, vocab]`.
    ///
    /// # Errors
    /// As [`Context::prefill`].
    pub fn prefill_all_logits(
        &mut self,
        sequence: &mut Sequence<B>,
        tokens: &[u32],
        cancel: &CancelFlag,
        visit: impl FnMut(Vec<f32>),
    ) -> Result<()> {
        self.prefill_chunks(sequence, tokens, LogitRows::All, cancel, visit)
    }

    fn prefill_chunks(
        &mut self,
        sequence: &mut Sequence<B>,
        tokens: &[u32],
        rows: LogitRows,
        cancel: &CancelFlag,
        mut visit: impl FnMut(Vec<f32>),
    ) -> Result<()> {
        self.model.check_prompt(tokens)?;
        self.check_sequence(sequence, tokens.len())?;
        let (model, work) = (&self.model, &mut self.work);
        for chunk in tokens.chunks(self.chunk) {
            log::trace!("prefill: {} tokens after {}", chunk.len(), sequence.len());
            match model
                .backend
                .scope(|| model.prefill_pass(work, sequence, chunk, rows, cancel))
            {
                Ok(logits) => {
                    sequence.tokens.extend_from_slice(chunk);
                    visit(logits);
                }
                Err(error) => {
                    sequence.kv.truncate(sequence.tokens.len());
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

impl<B: Backend> Model<B> {
    fn prefill_pass(
        &self,
        work: &mut Workspace<B>,
        sequence: &mut Sequence<B>,
        tokens: &[u32],
        rows: LogitRows,
        cancel: &CancelFlag,
    ) -> Result<Vec<f32>> {
        let _range = trace::range(Range::Prefill);
        let backend = &self.backend;
        let positions: Vec<usize> = (sequence.len()..sequence.len() + tokens.len()).collect();
        let cache = &mut sequence.kv;

        self.embed(work, tokens)?;
        for (l, layer) in self.weights.layers.iter().enumerate() {
            cancel.check()?;
            let _range = trace::layer(l);
            self.project_qkv(layer, work)?;
            backend.append(cache, l, work.heads(), self.rotation(&positions))?;
            backend.prefill_attention(cache, l, &work.q, &mut work.attended)?;
            self.finish_block(layer, work)?;
        }
        self.logits(work, tokens.len(), rows)?;
        backend.read(&work.logits)
    }
}
