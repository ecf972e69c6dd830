//! The weights of a decoder, by role.

use crate::Tensor;

/// `y = x Wᵀ + b`.
#[derive(Clone, Debug)]
pub struct Linear<T = Tensor> {
    /// `[out, in]`.
    pub weight: T,
    /// `[out]`, where the architecture has one.
    pub bias: Option<T>,
}

/// One pre-norm transformer block. Rows of `q` and `k` are in the order that
/// the model's [`crate::config::RopeStyle`] rotates.
#[derive(Clone, Debug)]
pub struct LayerWeights<T = Tensor> {
    /// `[hidden]`, before attention.
    pub attn_norm: T,
    /// `[n_heads * head_dim, hidden]`.
    pub q: Linear<T>,
    /// `[n_kv_heads * head_dim, hidden]`.
    pub k: Linear<T>,
    /// `[n_kv_heads * head_dim, hidden]`.
    pub v: Linear<T>,
    /// `[hidden, n_heads * head_dim]`.
    pub o: Linear<T>,
    /// `[hidden]`, before the MLP.
    pub mlp_norm: T,
    /// `[intermediate, hidden]`.
    pub gate: Linear<T>,
    /// `[intermediate, hidden]`.
    pub up: Linear<T>,
    /// `[hidden, intermediate]`.
    pub down: Linear<T>,
}

/// All weights of a model.
#[derive(Clone, Debug)]
pub struct ModelWeights<T = Tensor> {
    /// `[vocab, hidden]`.
    pub embedding: T,
    /// In order of execution.
    pub layers: Vec<LayerWeights<T>>,
    /// `[hidden]`, before the logits.
    pub final_norm: T,
    /// `[vocab, hidden]`; `None` where logits use the embedding.
    pub lm_head: Option<T>,
}
