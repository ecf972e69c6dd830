//! The working memory that computes with a model, and the limits it keeps.

use std::sync::Arc;

use super::layer::Workspace;
use super::{MemoryPlan, Model, Sequence};
use crate::backend::Backend;
use crate::cache::KvPolicy;
use crate::{Error, Result};

/// Settings of a [`Context`].
#[derive(Clone, Debug)]
pub struct ContextOptions {
    /// Tokens that a sequence may hold; `None`: what the model was made for, or
    /// as many as fit the memory.
    pub n_ctx: Option<usize>,
    /// Policy of the context's sequences.
    pub policy: KvPolicy,
    /// Prompt tokens computed at once; a cancel takes effect between chunks.
    pub chunk: usize,
}

impl Default for ContextOptions {
    fn default() -> Self {
        Self {
            n_ctx: None,
            policy: KvPolicy::full(),
            chunk: 512,
        }
    }
}

/// Computes with a model, one call at a time. Several contexts may share one
/// model and run on different threads.
pub struct Context<B: Backend> {
    pub(crate) model: Arc<Model<B>>,
    pub(crate) work: Workspace<B>,
    pub(crate) chunk: usize,
    policy: KvPolicy,
    plan: MemoryPlan,
}

impl<B: Backend> Context<B> {
    /// Checks the options against the model and the machine's memory, and
    /// allocates what computing needs. K and V grow with each sequence.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for an option out of range,
    /// [`Error::OutOfMemory`] if one sequence of `n_ctx` tokens cannot fit.
    pub fn new(model: Arc<Model<B>>, options: &ContextOptions) -> Result<Self> {
        let config = model.config();
        let n_ctx = options.n_ctx.unwrap_or(config.max_position);
        if n_ctx == 0 || n_ctx > config.max_position {
            return Err(Error::InvalidArgument(format!(
                "a context of {n_ctx} tokens is outside 1 to {}, which this model was made for",
                config.max_position
            )));
        }
        if options.chunk == 0 {
            return Err(Error::InvalidArgument(
                "prefill chunks need at least 1 token, got 0".into(),
            ));
        }
        options.policy.validate()?;
        let plan = match options.n_ctx {
            Some(_) => MemoryPlan::new,
            None => MemoryPlan::fit,
        };
        let weights = model.weight_bytes();
        let plan = plan(config, weights, &options.policy, n_ctx, options.chunk);
        plan.check()?;
        let work = Workspace::new(&model.backend, config)?;
        Ok(Self {
            work,
            plan,
            chunk: options.chunk,
            policy: options.policy.clone(),
            model,
        })
    }

    /// An empty sequence under this context's policy.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn sequence(&self) -> Result<Sequence<B>> {
        Ok(Sequence {
            tokens: Vec::new(),
            kv: self.model.backend.kv_cache(&self.model.config, &self.policy)?,
            n_ctx: self.plan.n_ctx,
        })
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model<B>> {
        &self.model
    }

    /// The policy of new sequences.
    pub fn policy(&self) -> &KvPolicy {
        &self.policy
    }

    /// What one sequence takes of the machine's memory.
    pub fn plan(&self) -> &MemoryPlan {
        &self.plan
    }

    /// Tokens that a sequence may hold.
    pub fn n_ctx(&self) -> usize {
        self.plan.n_ctx
    }
}
