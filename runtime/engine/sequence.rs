//! One text in progress.

use std::sync::Arc;

use super::Model;
use crate::backend::{Backend, SequenceCache};
use crate::cache::KvCounters;

/// The tokens of one text, with their K and V.
pub struct Sequence<B: Backend> {
    pub(crate) model: Arc<Model<B>>,
    pub(crate) tokens: Vec<u32>,
    pub(crate) kv: B::KvCache,
    pub(crate) n_ctx: usize,
}

impl<B: Backend> Sequence<B> {
    /// Tokens whose K and V are held, in order.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Number of those tokens.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether no token is held.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The most tokens that the sequence may hold.
    pub fn n_ctx(&self) -> usize {
        self.n_ctx
    }

    /// K and V of those tokens, as the backend holds them.
    pub fn kv(&self) -> &B::KvCache {
        &self.kv
    }

    /// What the KV policy did since the sequence was made.
    pub fn counters(&self) -> KvCounters {
        self.kv.counters()
    }

    /// The same for each layer; empty where layers are not told apart, as on a GPU.
    pub fn layer_counters(&self) -> Vec<KvCounters> {
        self.kv.layer_counters()
    }

    /// Bytes of K, of V, and of hot rows held.
    pub fn kv_bytes(&self) -> [usize; 3] {
        self.kv.bytes()
    }

    /// Forgets all tokens but those that `tokens` begins with too, and returns
    /// their number: what is left of `tokens` can be computed next. Its last
    /// token is left in any case, since what follows is drawn from its logits.
    pub fn keep_prefix(&mut self, tokens: &[u32]) -> usize {
        let kept = self
            .common_prefix(tokens)
            .min(tokens.len().saturating_sub(1));
        self.truncate(kept);
        kept
    }

    /// How many of its first tokens are those of `tokens` too.
    pub(crate) fn common_prefix(&self, tokens: &[u32]) -> usize {
        let equal = self.tokens.iter().zip(tokens).take_while(|(a, b)| a == b);
        equal.count()
    }

    /// Forgets all tokens from `len` on, so that others can follow.
    pub fn truncate(&mut self, len: usize) {
        self.tokens.truncate(len);
        self.kv.truncate(self.tokens.len());
    }
}
