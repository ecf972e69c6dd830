//! One decode step: one new token for each sequence of a batch.

use super::layer::{LogitRows, Workspace};
use super::{Context, Model, Sequence};
use crate::Result;
use crate::backend::{Backend, SequenceCache};
use crate::trace::{self, Range};

/// A sequence and the token that comes next in it.
pub struct Step<'a, B: Backend> {
    /// Where the token goes.
    pub sequence: &'a mut Sequence<B>,
    /// The token.
    pub token: u32,
}

impl<B: Backend> Context<B> {
    /// Appends one token to each sequence and returns the logits that follow,
    /// `[steps.len(), vocab]`, row-major.
    ///
    /// # Errors
    /// [`crate::Error::ContextFull`] if a sequence has no room, and
    /// [`crate::Error::InvalidArgument`] for a token outside the vocabulary or a sequence
    /// of another model, all before any work; on a GPU [`crate::Error::InvalidArgument`]
    /// for sequences of contexts with different policies or sizes;
    /// [`crate::Error::OutOfMemory`]; [`crate::Error::Device`]. After an error every sequence is as it was before the call.
    pub fn decode(&mut self, steps: &mut [Step<'_, B>]) -> Result<Vec<f32>> {
        for step in steps.iter() {
            self.model.check_tokens(&[step.token])?;
            self.check_sequence(step.sequence, 1)?;
        }
        if steps.is_empty() {
            return Ok(Vec::new());
        }
        log::trace!("decode: a step of {} sequences", steps.len());
        let (model, work) = (&self.model, &mut self.work);
        let logits = model.backend.scope(|| model.decode_pass(work, steps));
        for Step { sequence, token } in steps {
            match logits {
                Ok(_) => sequence.tokens.push(*token),
                Err(_) => sequence.kv.truncate(sequence.tokens.len()),
            }
        }
        logits
    }
}

impl<B: Backend> Model<B> {
    fn decode_pass(&self, work: &mut Workspace<B>, steps: &mut [Step<'_, B>]) -> Result<Vec<f32>> {
        let _range = trace::range(Range::DecodeStep);
        let backend = &self.backend;
        let tokens: Vec<u32> = steps.iter().map(|s| s.token).collect();
        let positions: Vec<usize> = steps.iter().map(|s| s.sequence.len()).collect();
        let mut caches: Vec<&mut B::KvCache> =
            steps.iter_mut().map(|s| &mut s.sequence.kv).collect();

        let mut memo = std::mem::take(&mut work.memo);
        let mut compute = |caches: &mut [&mut B::KvCache]| {
            self.embed(work, &tokens)?;
            for (l, layer) in self.weights.layers.iter().enumerate() {
                let _range = trace::layer(l);
                self.project_qkv(layer, work)?;
                backend.append_each(caches, l, work.heads(), self.rotation(&positions))?;
                backend.decode_attention(caches, l, &work.q, &mut work.attended)?;
                self.finish_block(layer, work)?;
            }
            self.logits(work, tokens.len(), LogitRows::All)
        };
        let done = backend.decode_step(&mut memo, &mut caches, &tokens, &mut compute);
        work.memo = memo;
        done?;
        // A step that was replayed has not said how many rows it made.
        backend.resize(&mut work.logits, tokens.len())?;
        backend.read(&work.logits)
    }
}
