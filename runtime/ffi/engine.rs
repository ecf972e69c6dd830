//! The engine without its type parameter: which backend computes is known only
//! when a program runs.

use std::any::Any;
use std::ops::ControlFlow;
use std::sync::Arc;

use kcache_models::Checkpoint;
use kcache_models::chat::ChatTemplate;
use kcache_models::config::ModelConfig;
use kcache_models::tokenizer::Tokenizer;

use crate::backend::{AnyBackend, Backend};
use crate::cache::KvPolicy;
use crate::engine::{
    CancelFlag, ContextOptions, FinishReason, GenerateOptions, MemoryPlan, Piece, SamplingParams,
    Stats, Step,
};
use crate::{Context, Error, Generation, Model, Result, Sequence};

/// A context that is wanted: under the first of the policies that fits.
pub struct Wish {
    pub options: ContextOptions,
    pub policies: Vec<KvPolicy>,
}

/// What a model says without its weights.
#[derive(Clone)]
pub struct Facts {
    pub config: ModelConfig,
    pub tokenizer: Tokenizer,
    pub chat_template: Option<ChatTemplate>,
    pub sampling: SamplingParams,
    pub end_tokens: Vec<u32>,
    pub weight_bytes: u64,
    pub device: String,
}

impl Facts {
    pub fn new(checkpoint: &Checkpoint, backend: &AnyBackend) -> Self {
        Self {
            config: checkpoint.config.clone(),
            tokenizer: checkpoint.tokenizer.clone(),
            chat_template: checkpoint.chat_template.clone(),
            sampling: SamplingParams::recommended(&checkpoint.generation),
            end_tokens: checkpoint.generation.eos_token_ids.clone(),
            weight_bytes: checkpoint.weight_sizes().bytes,
            device: match backend {
                AnyBackend::Cpu(backend) => backend.name(),
                AnyBackend::Cuda(backend) => backend.name(),
            },
        }
    }
}

/// The options and the plan of what fits beside weights that are not loaded yet.
///
/// # Errors
/// As [`ContextOptions::fit_policy`].
pub fn plan(wish: Wish, checkpoint: &Checkpoint, backend: &AnyBackend) -> Result<Planned> {
    let Wish { options, policies } = wish;
    let (config, weights) = (&checkpoint.config, checkpoint.weight_sizes());
    let (options, plan) = match backend {
        AnyBackend::Cpu(backend) => options.fit_policy(policies, backend, config, &weights),
        AnyBackend::Cuda(backend) => options.fit_policy(policies, &**backend, config, &weights),
    }?;
    Ok(Planned { options, plan })
}

/// Brings the weights to the backend.
///
/// # Errors
/// As [`Model::from_checkpoint`].
pub fn load(
    checkpoint: Checkpoint,
    backend: AnyBackend,
    progress: &mut dyn FnMut(u64, u64) -> Result<()>,
) -> Result<Arc<dyn AnyModel>> {
    Ok(match backend {
        AnyBackend::Cpu(b) => Arc::new(Model::from_checkpoint(checkpoint, b, progress)?),
        AnyBackend::Cuda(b) => Arc::new(Model::from_checkpoint(checkpoint, *b, progress)?),
    })
}

/// What was chosen of a [`Wish`].
pub struct Planned {
    pub options: ContextOptions,
    pub plan: MemoryPlan,
}

/// A loaded [`Model`].
pub trait AnyModel: Send + Sync {
    /// As [`plan`], beside the weights.
    fn plan(&self, wish: Wish) -> Result<Planned>;
    /// See [`Context::new`].
    fn context(self: Arc<Self>, planned: &Planned) -> Result<Box<dyn AnyContext>>;
}

impl<B: Backend> AnyModel for Model<B> {
    fn plan(&self, wish: Wish) -> Result<Planned> {
        let (options, plan) = wish.options.fit_loaded(wish.policies, self)?;
        Ok(Planned { options, plan })
    }

    fn context(self: Arc<Self>, planned: &Planned) -> Result<Box<dyn AnyContext>> {
        let options = ContextOptions {
            n_ctx: Some(planned.plan.n_ctx),
            ..planned.options.clone()
        };
        Ok(Box::new(Context::new(self, &options)?))
    }
}

/// A [`Context`]. Sequences of another backend are refused.
pub trait AnyContext: Send + Sync {
    fn plan(&self) -> &MemoryPlan;
    fn vocab_size(&self) -> usize;
    fn sequence(&self) -> Result<Box<dyn AnySequence>>;
    fn prefill(
        &mut self,
        sequence: &mut dyn AnySequence,
        tokens: &[u32],
        cancel: &CancelFlag,
    ) -> Result<Vec<f32>>;
    fn decode(&mut self, steps: &mut [(&mut (dyn AnySequence + 'static), u32)])
    -> Result<Vec<f32>>;
    fn generate(
        &mut self,
        sequence: &mut dyn AnySequence,
        prompt: &[u32],
        options: GenerateOptions,
        cancel: CancelFlag,
        each: &mut dyn FnMut(Piece) -> ControlFlow<()>,
    ) -> Result<(FinishReason, Stats)>;
}

/// A [`Sequence`].
pub trait AnySequence: Send + Sync {
    fn tokens(&self) -> &[u32];
    fn n_ctx(&self) -> usize;
    fn kv_bytes(&self) -> [usize; 3];
    fn truncate(&mut self, len: usize);
    fn keep_prefix(&mut self, tokens: &[u32]) -> usize;
    fn as_any(&mut self) -> &mut dyn Any;
}

impl<B: Backend> AnySequence for Sequence<B> {
    fn tokens(&self) -> &[u32] {
        self.tokens()
    }

    fn n_ctx(&self) -> usize {
        self.n_ctx()
    }

    fn kv_bytes(&self) -> [usize; 3] {
        self.kv_bytes()
    }

    fn truncate(&mut self, len: usize) {
        self.truncate(len);
    }

    fn keep_prefix(&mut self, tokens: &[u32]) -> usize {
        self.keep_prefix(tokens)
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

/// `sequence` as one of this backend's.
fn of_backend<B: Backend>(sequence: &mut dyn AnySequence) -> Result<&mut Sequence<B>> {
    let sequence = sequence.as_any().downcast_mut();
    sequence.ok_or_else(|| {
        Error::InvalidArgument("the sequence is one of another device than the context's".into())
    })
}

impl<B: Backend> AnyContext for Context<B> {
    fn plan(&self) -> &MemoryPlan {
        self.plan()
    }

    fn vocab_size(&self) -> usize {
        self.model().config().vocab_size
    }

    fn sequence(&self) -> Result<Box<dyn AnySequence>> {
        Ok(Box::new(self.sequence()?))
    }

    fn prefill(
        &mut self,
        sequence: &mut dyn AnySequence,
        tokens: &[u32],
        cancel: &CancelFlag,
    ) -> Result<Vec<f32>> {
        self.prefill(of_backend(sequence)?, tokens, cancel)
    }

    fn decode(
        &mut self,
        steps: &mut [(&mut (dyn AnySequence + 'static), u32)],
    ) -> Result<Vec<f32>> {
        let mut steps = steps
            .iter_mut()
            .map(|(sequence, token)| {
                Ok(Step {
                    sequence: of_backend(*sequence)?,
                    token: *token,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        self.decode(&mut steps)
    }

    fn generate(
        &mut self,
        sequence: &mut dyn AnySequence,
        prompt: &[u32],
        options: GenerateOptions,
        cancel: CancelFlag,
        each: &mut dyn FnMut(Piece) -> ControlFlow<()>,
    ) -> Result<(FinishReason, Stats)> {
        let sequence = of_backend(sequence)?;
        let mut generation = Generation::start(self, sequence, prompt, options, cancel)?;
        loop {
            if let Some(piece) = generation.next_piece()? {
                if each(piece).is_break() {
                    return Ok((FinishReason::Cancelled, generation.stats()));
                }
            } else if let Some(reason) = generation.finish_reason() {
                return Ok((reason, generation.stats()));
            }
        }
    }
}
