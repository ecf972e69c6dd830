//! From a path to a context that computes, on the device that was chosen.

use std::sync::Arc;

use kcache::backend::{AnyBackend, Backend, Chosen};
use kcache::cache::KvPolicy;
use kcache::driver::DeviceChoice;
use kcache::engine::{ContextOptions, MemoryPlan};
use kcache::models::Checkpoint;
use kcache::models::config::ModelConfig;
use kcache::models::weights::WeightSizes;
use kcache::{Context, Error, Model, synthetic};

use crate::failure::{Failure, Result};
use crate::model_args::{ComputeArgs, ModelArgs};
use crate::subject::Source;
use crate::ui::Ui;

/// What a subcommand does with a model, wherever that computes.
pub trait Task {
    /// Sequences that it holds at once.
    fn sequences(&self) -> usize {
        1
    }

    /// Goes on from a checkpoint that is opened and planned for.
    ///
    /// # Errors
    /// [`Failure`].
    fn run<B: Backend>(self, opened: Opened<B>) -> Result<()>;
}

/// A checkpoint that is checked and planned for, but not loaded.
pub struct Opened<B> {
    /// What the files hold.
    pub checkpoint: Checkpoint,
    /// What the sequences of the task take.
    plan: MemoryPlan,
    backend: B,
    /// Why this is not the device that one would expect.
    remark: Option<String>,
    options: ContextOptions,
}

/// A context that was asked for, under the first of the policies that fits.
struct Wish {
    options: ContextOptions,
    policies: Vec<KvPolicy>,
}

/// Opens the checkpoint and goes on as [`open_source`].
///
/// # Errors
/// For a bad checkpoint; as [`open_source`].
pub fn open(
    args: &ModelArgs,
    n_ctx: Option<usize>,
    policies: Vec<KvPolicy>,
    task: impl Task,
) -> Result<()> {
    let checkpoint = Checkpoint::open_by(&args.model, args.compute.reading())?;
    let source = Source::Checkpoint(Box::new(checkpoint));
    open_source(source, &args.compute, n_ctx, policies, task)
}

/// Chooses the device and plans a context of `n_ctx` tokens, or of as many as the
/// model was made for and fit the memory, under the first of `policies` that
/// allows it; `task` goes on from there.
///
/// # Errors
/// For a device that cannot be used, and a context that the model or the memory
/// does not allow; those of `task`.
pub fn open_source(
    source: Source,
    args: &ComputeArgs,
    n_ctx: Option<usize>,
    policies: Vec<KvPolicy>,
    task: impl Task,
) -> Result<()> {
    let options = ContextOptions {
        n_ctx,
        sequences: task.sequences(),
        chunk: args.chunk,
        ..ContextOptions::default()
    };
    let wish = Wish { options, policies };
    let chosen = choose(args, source.config())?;
    let remark = chosen.remark;
    match chosen.backend {
        AnyBackend::Cuda(backend) => task.run(Opened::new(source, *backend, remark, wish)?),
        AnyBackend::Cpu(backend) => task.run(Opened::new(source, backend, remark, wish)?),
    }
}

/// The backend that the flags mean for a model of `config`.
///
/// # Errors
/// [`Failure::Input`] for a device that was asked for and cannot be used; as
/// [`AnyBackend::choose`].
pub fn choose(args: &ComputeArgs, config: &ModelConfig) -> Result<Chosen> {
    AnyBackend::choose(args.device, args.threads, config).map_err(|error| match error {
        Error::Device(error) if args.device != DeviceChoice::Auto => {
            Failure::Input(format!("--device {}: {error}", args.device))
        }
        error => error.into(),
    })
}

impl<B: Backend> Opened<B> {
    fn new(source: Source, backend: B, remark: Option<String>, wish: Wish) -> Result<Self> {
        let Wish { options, policies } = wish;
        if let Source::Synthetic(config) = &source {
            // What does not fit even alone is refused before gigabytes of weights are made.
            let weights = WeightSizes {
                copied: false,
                ..synthetic::weight_sizes(config)
            };
            let (options, policies) = (options.clone(), policies.clone());
            options.fit_policy(policies, &backend, config, &weights)?;
        }
        let checkpoint = source.checkpoint()?;
        let weights = checkpoint.weight_sizes();
        let config = &checkpoint.config;
        let (options, plan) = options.fit_policy(policies, &backend, config, &weights)?;
        Ok(Self {
            // What fits now is what the context will hold.
            options: ContextOptions {
                n_ctx: Some(plan.n_ctx),
                ..options
            },
            checkpoint,
            plan,
            backend,
            remark,
        })
    }

    /// The ids of a prompt.
    ///
    /// # Errors
    /// [`Failure::Input`] if there are none, [`Error::ContextFull`] if they do
    /// not fit the context.
    pub fn encode_prompt(&self, text: &str) -> Result<Vec<u32>> {
        let tokens = self.checkpoint.tokenizer.encode(text, true)?;
        if tokens.is_empty() {
            return Err(Failure::Input("the prompt has no tokens".into()));
        }
        if tokens.len() > self.plan.n_ctx {
            return Err(Failure::Runtime(Error::ContextFull {
                used: 0,
                new: tokens.len(),
                n_ctx: self.plan.n_ctx,
            }));
        }
        Ok(tokens)
    }

    /// Says where the model computes and what memory will be used, and loads
    /// the weights.
    ///
    /// # Errors
    /// As [`Model::from_checkpoint`] and [`Context::new`]; [`Error::Cancelled`].
    pub fn load(self, ui: &Ui) -> Result<Context<B>> {
        let remark = self.remark.map(|remark| format!(" ({remark})"));
        let device = self.backend.name();
        ui.console
            .note(format!("device:   {device}{}", remark.unwrap_or_default()));
        ui.console.note(format!("plan:     {}", self.plan));
        ui.interrupt.begin_work();
        let bar = ui.console.bytes_bar("loading");
        let loaded = Model::from_checkpoint(self.checkpoint, self.backend, &mut |done, total| {
            bar.set_length(total);
            bar.set_position(done);
            ui.interrupt.cancel.check()
        });
        bar.finish_and_clear();
        Ok(Context::new(Arc::new(loaded?), &self.options)?)
    }
}
