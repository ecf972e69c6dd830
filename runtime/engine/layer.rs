//! What prefill and decode share of a transformer block.

use kcache_models::config::ModelConfig;
use kcache_models::weights::LayerWeights;

use super::Model;
use crate::Result;
use crate::backend::{Backend, Heads, Norm, Projection, Rotation};
use crate::trace::{self, Range};

/// Activations of one pass; each has one row per token.
pub(crate) struct Workspace<B: Backend> {
    /// `[tokens, hidden]`, the residual stream.
    pub x: B::Activation,
    /// `[tokens, hidden]`, what a norm or projection made of it.
    pub normed: B::Activation,
    /// `[tokens, n_heads * head_dim]`.
    pub q: B::Activation,
    /// `[tokens, n_kv_heads * head_dim]`.
    pub k: B::Activation,
    /// `[tokens, n_kv_heads * head_dim]`.
    pub v: B::Activation,
    /// `[tokens, n_heads * head_dim]`, the heads' outputs.
    pub attended: B::Activation,
    /// `[tokens, intermediate]`.
    pub gate: B::Activation,
    /// `[tokens, intermediate]`.
    pub up: B::Activation,
    /// `[rows asked for, hidden]`, their share of the residual stream.
    pub wanted: B::Activation,
    /// `[rows asked for, vocab]`.
    pub logits: B::Activation,
    /// What the backend keeps from one decode step to the next.
    pub memo: B::StepMemo,
}

impl<B: Backend> Workspace<B> {
    pub fn new(backend: &B, config: &ModelConfig) -> Result<Self> {
        Ok(Self {
            x: backend.activation(config.hidden_size)?,
            normed: backend.activation(config.hidden_size)?,
            q: backend.activation(config.q_dim())?,
            k: backend.activation(config.kv_dim())?,
            v: backend.activation(config.kv_dim())?,
            attended: backend.activation(config.q_dim())?,
            gate: backend.activation(config.intermediate_size)?,
            up: backend.activation(config.intermediate_size)?,
            wanted: backend.activation(config.hidden_size)?,
            logits: backend.activation(config.vocab_size)?,
            memo: B::StepMemo::default(),
        })
    }

    /// What the projections left for the cache.
    pub fn heads(&mut self) -> Heads<'_, B> {
        Heads {
            q: &mut self.q,
            k: &mut self.k,
            v: &self.v,
        }
    }

    /// Makes room for `tokens` rows everywhere but in the logits.
    fn resize(&mut self, backend: &B, tokens: usize) -> Result<()> {
        for activation in [
            &mut self.x,
            &mut self.normed,
            &mut self.q,
            &mut self.k,
            &mut self.v,
            &mut self.attended,
            &mut self.gate,
            &mut self.up,
        ] {
            backend.resize(activation, tokens)?;
        }
        Ok(())
    }
}

/// Which rows of a pass the caller wants logits of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogitRows {
    All,
    Last,
}

impl<B: Backend> Model<B> {
    /// Starts a pass: the residual stream is the tokens' embeddings.
    pub(crate) fn embed(&self, work: &mut Workspace<B>, tokens: &[u32]) -> Result<()> {
        work.resize(&self.backend, tokens.len())?;
        self.backend
            .embed(&self.weights.embedding, tokens, &mut work.x)
    }

    /// Norm and the projections to Q, K and V.
    pub(crate) fn project_qkv(
        &self,
        layer: &LayerWeights<B::Matrix, B::Vector>,
        work: &mut Workspace<B>,
    ) -> Result<()> {
        let _range = trace::range(Range::Projections);
        self.backend.norm_linear(
            &work.x,
            self.norm(&layer.attn_norm),
            &mut work.normed,
            &mut [
                Projection::new(&layer.q, &mut work.q),
                Projection::new(&layer.k, &mut work.k),
                Projection::new(&layer.v, &mut work.v),
            ],
        )
    }

    /// Where the tokens of a pass stand.
    pub(crate) fn rotation<'a>(&'a self, positions: &'a [usize]) -> Rotation<'a, B> {
        Rotation {
            rope: &self.rope,
            positions,
        }
    }

    fn norm<'a>(&self, weight: &'a B::Vector) -> Norm<'a, B> {
        Norm {
            weight,
            eps: self.config.rms_norm_eps,
        }
    }

    /// Output projection of the attended heads, residual, and the MLP.
    pub(crate) fn finish_block(
        &self,
        layer: &LayerWeights<B::Matrix, B::Vector>,
        work: &mut Workspace<B>,
    ) -> Result<()> {
        let _range = trace::range(Range::Mlp);
        let backend = &self.backend;
        let out = Projection::new(&layer.o, &mut work.normed);
        backend.add_linear(&mut work.x, &work.attended, out)?;
        let both = [
            Projection::new(&layer.gate, &mut work.gate),
            Projection::new(&layer.up, &mut work.up),
        ];
        let norm = self.norm(&layer.mlp_norm);
        backend.norm_gated(&work.x, norm, &mut work.normed, both)?;
        let down = Projection::new(&layer.down, &mut work.normed);
        backend.add_linear(&mut work.x, &work.gate, down)
    }

    /// Ends a pass of `tokens` tokens: logits `[rows, vocab]`.
    pub(crate) fn logits(
        &self,
        work: &mut Workspace<B>,
        tokens: usize,
        rows: LogitRows,
    ) -> Result<()> {
        let _range = trace::range(Range::Logits);
        let backend = &self.backend;
        let first = match rows {
            LogitRows::All => 0,
            LogitRows::Last => tokens - 1,
        };
        backend.resize(&mut work.normed, tokens - first)?;
        backend.resize(&mut work.logits, tokens - first)?;
        let wanted = match first {
            0 => &work.x,
            _ => {
                backend.resize(&mut work.wanted, tokens - first)?;
                backend.copy_rows(&work.x, first..tokens, &mut work.wanted)?;
                &work.wanted
            }
        };
        let weights = &self.weights;
        let head = Projection {
            weight: weights.lm_head.as_ref().unwrap_or(&weights.embedding),
            bias: None,
            out: &mut work.logits,
        };
        let norm = self.norm(&weights.final_norm);
        backend.norm_linear(wanted, norm, &mut work.normed, &mut [head])
    }
}
