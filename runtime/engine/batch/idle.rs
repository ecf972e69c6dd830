//! Sequences of texts that have ended, for prompts that begin like them.

use crate::backend::Backend;
use crate::engine::Sequence;

/// A bounded store of sequences.
pub(super) struct Idle<B: Backend> {
    /// The one used last comes last.
    sequences: Vec<Sequence<B>>,
    /// Sequences in all, those in use included.
    limit: usize,
}

impl<B: Backend> Idle<B> {
    /// Keeps sequences while those in use and its own are at most `limit`.
    pub fn new(limit: usize) -> Self {
        Self {
            sequences: Vec::new(),
            limit,
        }
    }

    /// What is kept.
    pub fn iter(&self) -> impl Iterator<Item = &Sequence<B>> {
        self.sequences.iter()
    }

    /// Keeps a sequence, if there is room beside `in_use` others.
    pub fn put(&mut self, sequence: Sequence<B>, in_use: usize) {
        if in_use + self.sequences.len() < self.limit {
            self.sequences.push(sequence);
        }
    }

    /// The sequence of which `prompt` needs the most, if that is at least half of
    /// it; otherwise, if there is no room for a new one beside `in_use` others,
    /// the one used longest ago.
    pub fn take(&mut self, prompt: &[u32], in_use: usize) -> Option<Sequence<B>> {
        let common = self.iter().map(|s| s.common_prefix(prompt)).enumerate();
        let (best, common) = common.max_by_key(|&(_, common)| common)?;
        let at = match 2 * common >= self.sequences[best].len() {
            true => best,
            false if in_use + self.sequences.len() >= self.limit => 0,
            false => return None,
        };
        Some(self.sequences.remove(at))
    }

    /// Frees all; `false` if there was none.
    pub fn clear(&mut self) -> bool {
        let any = !self.sequences.is_empty();
        self.sequences.clear();
        any
    }
}
