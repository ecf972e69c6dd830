//! From a path to a context that computes.

use std::sync::Arc;

use indicatif::BinaryBytes;
use kcache::backend::cpu::Cpu;
use kcache::cache::KvPolicy;
use kcache::engine::{ContextOptions, MemoryPlan};
use kcache::models::Checkpoint;
use kcache::{Context, Error, Model};

use crate::failure::{Failure, Result};
use crate::model_args::ModelArgs;
use crate::ui::Ui;

/// A checkpoint that is checked and planned for, but not loaded.
pub struct Opened {
    /// What the files hold.
    pub checkpoint: Checkpoint,
    plan: MemoryPlan,
    backend: Cpu,
    options: ContextOptions,
}

impl Opened {
    /// Opens the checkpoint and plans a context of `n_ctx` tokens, or of as many
    /// as the model was made for and fit the memory.
    ///
    /// # Errors
    /// For a bad checkpoint, and for a context that the model or the memory does not allow.
    pub fn open(args: &ModelArgs, n_ctx: Option<usize>, policy: KvPolicy) -> Result<Self> {
        let checkpoint = Checkpoint::open(&args.model)?;
        let options = ContextOptions {
            n_ctx,
            policy,
            chunk: args.chunk,
        };
        let plan = options.plan(&checkpoint.config, checkpoint.weight_bytes)?;
        Ok(Self {
            backend: Cpu::new(args.threads)?,
            // What fits now is what the context will hold.
            options: ContextOptions {
                n_ctx: Some(plan.n_ctx),
                ..options
            },
            checkpoint,
            plan,
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

    /// Says what memory will be used, and loads the weights.
    ///
    /// # Errors
    /// As [`Model::from_checkpoint`] and [`Context::new`]; [`Error::Cancelled`].
    pub fn load(self, ui: &Ui) -> Result<Context<Cpu>> {
        ui.console.note(plan_line(&self.plan));
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

fn plan_line(plan: &MemoryPlan) -> String {
    let MemoryPlan { n_ctx, .. } = plan;
    let [weights, keys, values] = [plan.weights, plan.keys, plan.values].map(BinaryBytes);
    let [hot_rows, workspace] = [plan.hot_rows, plan.workspace].map(BinaryBytes);
    let available = plan
        .available
        .map(|bytes| format!("; {} available", BinaryBytes(bytes)));
    format!(
        "plan:     weights {weights} mapped; for {n_ctx} tokens K {keys}, V {values}, \
         hot rows {hot_rows}, workspace {workspace}{}",
        available.unwrap_or_default()
    )
}
