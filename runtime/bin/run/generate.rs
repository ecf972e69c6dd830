//! `run generate`: a prompt and what follows it.

use clap::Args;
use kcache::backend::Backend;
use kcache::engine::FinishReason;

use crate::cli::OutputArgs;
use crate::failure::{Failure, Result};
use crate::input::PromptArgs;
use crate::json::ReplyJson;
use crate::kv_args::KvArgs;
use crate::model_args::{ContextArgs, ModelArgs};
use crate::reply::Reply;
use crate::sampling_args::{self, SamplingArgs};
use crate::session::{self, Opened, Task};
use crate::summary;
use crate::ui::Ui;

/// Flags of `run generate`.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    context: ContextArgs,
    #[command(flatten)]
    prompt: PromptArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    kv: KvArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Streams the continuation, then the statistics.
///
/// # Errors
/// [`Failure`], also [`Failure::Interrupted`] after the statistics.
pub fn run(args: &GenerateArgs) -> Result<()> {
    let ui = Ui::new(&args.output)?;
    let policies = args.kv.policies()?;
    let text = args.prompt.read(&ui.interrupt)?;
    let sampling = &args.sampling;
    let task = Continue { text, sampling, ui };
    session::open(&args.model, args.context.ctx_size, policies, task)
}

struct Continue<'a> {
    text: String,
    sampling: &'a SamplingArgs,
    ui: Ui,
}

impl Task for Continue<'_> {
    fn run<B: Backend>(mut self, opened: Opened<B>) -> Result<()> {
        let ui = &mut self.ui;
        let recommended = &opened.checkpoint.generation;
        let options = self.sampling.options(recommended)?;
        let prompt = opened.encode_prompt(&self.text)?;
        sampling_args::announce(&options.sampling, recommended, &ui.console);

        let mut context = opened.load(ui)?;
        let mut sequence = context.sequence()?;
        let sampling = options.sampling.clone();
        let reply = Reply::stream(&mut context, &mut sequence, &prompt, options, ui)?;
        ui.output
            .json(&ReplyJson::new(&reply, &sampling, &context))?;
        let weights = context.model().weight_bytes();
        ui.console.note(summary::full(&reply, &sampling, weights));
        match reply.finish_reason {
            FinishReason::Cancelled => Err(Failure::Interrupted),
            _ => Ok(()),
        }
    }
}
