//! The working memory that computes with a model, and the limits it keeps.

use std::sync::Arc;

use kcache_models::config::ModelConfig;
use kcache_models::weights::WeightSizes;

use super::layer::Workspace;
use super::{MemoryPlan, Model, Sequence};
use crate::backend::{Backend, Memory};
use crate::cache::KvPolicy;
use crate::{Error, Result};

/// Settings of a [`Context`].
#[derive(Clone, Debug)]
pub struct ContextOptions {
    /// Tokens that a sequence may hold; `None`: what the model was made for, or
    /// as many as fit the memory.
    pub n_ctx: Option<usize>,
    /// Sequences that memory is planned for; more may be made where it suffices.
    pub sequences: usize,
    /// Policy of the context's sequences.
    pub policy: KvPolicy,
    /// Prompt tokens computed at once; a cancel takes effect between chunks.
    /// `None`: what suits the backend.
    pub chunk: Option<usize>,
}

impl Default for ContextOptions {
    /// One sequence, with V beside K.
    fn default() -> Self {
        Self {
            n_ctx: None,
            sequences: 1,
            policy: KvPolicy::default(),
            chunk: None,
        }
    }
}

impl ContextOptions {
    /// What the sequences will take of the memories of `backend`, for a model of
    /// `config` with such weights: all checks of a context, before anything is loaded.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for an option out of range or a model that
    /// `backend` cannot compute, [`Error::OutOfMemory`] if the weights and
    /// sequences of `n_ctx` tokens cannot fit.
    pub fn plan<B: Backend>(
        &self,
        backend: &B,
        config: &ModelConfig,
        weights: &WeightSizes,
    ) -> Result<MemoryPlan> {
        backend.check(config)?;
        let chunk = self.chunk.unwrap_or(backend.prefill_chunk());
        self.plan_within(&backend.memory(config, weights, false)?, config, chunk)
    }

    /// These options with the first of `policies` under which the whole context
    /// fits; if none lets it, with the one that allows the longest.
    ///
    /// # Errors
    /// As [`ContextOptions::plan`] under the last policy, if no policy has a plan;
    /// [`Error::InvalidArgument`] without a policy.
    pub fn fit_policy<B: Backend>(
        self,
        policies: Vec<KvPolicy>,
        backend: &B,
        config: &ModelConfig,
        weights: &WeightSizes,
    ) -> Result<(Self, MemoryPlan)> {
        backend.check(config)?;
        let chunk = self.chunk.unwrap_or(backend.prefill_chunk());
        self.fit_within(
            policies,
            &backend.memory(config, weights, false)?,
            config,
            chunk,
        )
    }

    /// As [`ContextOptions::fit_policy`], beside the weights of a loaded model.
    ///
    /// # Errors
    /// As [`ContextOptions::fit_policy`].
    pub fn fit_loaded<B: Backend>(
        self,
        policies: Vec<KvPolicy>,
        model: &Model<B>,
    ) -> Result<(Self, MemoryPlan)> {
        let chunk = self.chunk.unwrap_or(model.backend.prefill_chunk());
        self.fit_within(policies, &model.memory()?, model.config(), chunk)
    }

    fn fit_within(
        self,
        policies: Vec<KvPolicy>,
        memory: &Memory,
        config: &ModelConfig,
        chunk: usize,
    ) -> Result<(Self, MemoryPlan)> {
        let wanted = self.n_ctx.unwrap_or(config.max_position);
        let mut best: Result<(Self, MemoryPlan)> =
            Err(Error::InvalidArgument("no KV policy to choose from".into()));
        for policy in policies {
            let options = Self {
                policy,
                ..self.clone()
            };
            match (options.plan_within(memory, config, chunk), &best) {
                (Ok(plan), _) if plan.n_ctx == wanted => return Ok((options, plan)),
                (Ok(plan), Ok((_, other))) if plan.n_ctx <= other.n_ctx => {}
                (Ok(plan), _) => best = Ok((options, plan)),
                (Err(_), Ok(_)) => {}
                (Err(error), Err(_)) => best = Err(error),
            }
        }
        best
    }

    fn plan_within(
        &self,
        memory: &Memory,
        config: &ModelConfig,
        chunk: usize,
    ) -> Result<MemoryPlan> {
        let n_ctx = self.n_ctx.unwrap_or(config.max_position);
        if n_ctx == 0 || n_ctx > config.max_position {
            return Err(Error::InvalidArgument(format!(
                "a context of {n_ctx} tokens is outside 1 to {}, which this model was made for",
                config.max_position
            )));
        }
        if self.chunk == Some(0) {
            return Err(Error::InvalidArgument(
                "prefill chunks need at least 1 token, got 0".into(),
            ));
        }
        if self.sequences == 0 {
            return Err(Error::InvalidArgument(
                "a context is planned for at least 1 sequence, got 0".into(),
            ));
        }
        self.policy.validate()?;
        let plan = match self.n_ctx {
            Some(_) => MemoryPlan::new,
            None => MemoryPlan::fit,
        };
        let plan = plan(memory, config, &self.policy, n_ctx, self.sequences, chunk);
        plan.check()?;
        Ok(plan)
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
    /// Allocates what computing needs, within the plan of `options`. K and V
    /// grow with each sequence.
    ///
    /// # Errors
    /// As [`ContextOptions::plan`].
    pub fn new(model: Arc<Model<B>>, options: &ContextOptions) -> Result<Self> {
        let chunk = options.chunk.unwrap_or(model.backend.prefill_chunk());
        let plan = options.plan_within(&model.memory()?, model.config(), chunk)?;
        let work = Workspace::new(&model.backend, model.config())?;
        Ok(Self {
            work,
            plan,
            chunk,
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
            kv: self
                .model
                .backend
                .kv_cache(&self.model.config, &self.policy, self.plan.n_ctx)?,
            n_ctx: self.plan.n_ctx,
            model: self.model.clone(),
        })
    }

    /// # Errors
    /// [`Error::InvalidArgument`] for a sequence of another model, and
    /// [`Error::ContextFull`] for one without room for `new` tokens.
    pub(crate) fn check_sequence(&self, sequence: &Sequence<B>, new: usize) -> Result<()> {
        if !Arc::ptr_eq(&self.model, &sequence.model) {
            return Err(Error::InvalidArgument(
                "the sequence is one of another model than the context's".into(),
            ));
        }
        let (used, n_ctx) = (sequence.len(), sequence.n_ctx);
        if new > n_ctx - used {
            return Err(Error::ContextFull { used, new, n_ctx });
        }
        Ok(())
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model<B>> {
        &self.model
    }

    /// The policy of new sequences.
    pub fn policy(&self) -> &KvPolicy {
        &self.policy
    }

    /// What the sequences take of the machine's memory.
    pub fn plan(&self) -> &MemoryPlan {
        &self.plan
    }

    /// Tokens that a sequence may hold.
    pub fn n_ctx(&self) -> usize {
        self.plan.n_ctx
    }
}
