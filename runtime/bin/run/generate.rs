//! `run generate`: a prompt and what follows it.

use clap::Args;
use kcache::engine::FinishReason;

use crate::cli::OutputArgs;
use crate::failure::{Failure, Result};
use crate::input::PromptArgs;
use crate::json::ReplyJson;
use crate::kv_args::KvArgs;
use crate::model_args::{ContextArgs, ModelArgs};
use crate::reply::Reply;
use crate::sampling_args::{self, SamplingArgs};
use crate::session::Opened;
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
    let mut ui = Ui::new(&args.output)?;
    let policy = args.kv.policy()?;
    let text = args.prompt.read(&ui.interrupt)?;
    let opened = Opened::open(&args.model, args.context.ctx_size, policy)?;
    let options = args.sampling.options(&opened.checkpoint.generation)?;
    let prompt = opened.encode_prompt(&text)?;
    sampling_args::announce(
        &options.sampling,
        &opened.checkpoint.generation,
        &ui.console,
    );

    let mut context = opened.load(&ui)?;
    let mut sequence = context.sequence()?;
    let sampling = options.sampling.clone();
    let reply = Reply::stream(&mut context, &mut sequence, &prompt, options, &mut ui)?;
    ui.output
        .json(&ReplyJson::new(&reply, &sampling, &context))?;
    let weights = context.model().weight_bytes();
    ui.console.note(summary::full(&reply, &sampling, weights));
    match reply.finish_reason {
        FinishReason::Cancelled => Err(Failure::Interrupted),
        _ => Ok(()),
    }
}
