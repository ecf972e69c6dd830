//! `run profile`: where the time goes.

mod report;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use kcache::Context;
use kcache::backend::Backend;
use kcache::engine::{CancelFlag, Step};
use kcache::models::Checkpoint;
use kcache::trace::{self, Recording, Span};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::cli::OutputArgs;
use crate::failure::{Failure, Result};
use crate::kv_args::KvArgs;
use crate::model_args::{ModelArgs, positive};
use crate::session::{self, Opened, Task};
use crate::ui::Ui;

/// Seed of the tokens that are read.
const SEED: u64 = 0;

/// Flags of `run profile`.
#[derive(Debug, Args)]
pub struct ProfileArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    work: WorkArgs,
    #[command(flatten)]
    kv: KvArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What is profiled.
#[derive(Debug, Args)]
#[command(next_help_heading = "Work")]
struct WorkArgs {
    /// Tokens of the prompt, drawn at random with a fixed seed
    #[arg(long, value_name = "N", value_parser = positive, default_value_t = 512, env = "KCACHE_PROMPT_TOKENS")]
    prompt_tokens: usize,
    /// Decode steps after it
    #[arg(long, value_name = "N", value_parser = positive, default_value_t = 32, env = "KCACHE_DECODE_STEPS")]
    decode_steps: usize,
    /// The same work, done before the profile begins, so many times
    #[arg(long, value_name = "N", default_value_t = 1, env = "KCACHE_WARM_UPS")]
    warm_ups: usize,
    /// Leading layers of the model to compute with [default: all]
    #[arg(long, value_name = "N", value_parser = positive, env = "KCACHE_LAYERS")]
    layers: Option<usize>,
    /// Write a timeline for Perfetto (https://ui.perfetto.dev) or chrome://tracing; on a GPU with the times of its streams, for which steps run without a graph
    #[arg(long, value_name = "FILE", env = "KCACHE_TRACE")]
    trace: Option<PathBuf>,
}

/// Prints what each range took.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &ProfileArgs) -> Result<()> {
    let ui = Ui::new(&args.output)?;
    let policies = args.kv.policies()?;
    let n_ctx = args.work.prompt_tokens + args.work.decode_steps;
    let recording = Recording::start()?;
    let task = Profile {
        args: &args.work,
        recording,
        ui,
    };
    let layers = args.work.layers;
    let cut = |checkpoint: &mut Checkpoint| cut(checkpoint, layers);
    session::open_changed(&args.model, Some(n_ctx), policies, task, cut)
}

/// Leaves the first `layers` layers of `checkpoint`.
fn cut(checkpoint: &mut Checkpoint, layers: Option<usize>) -> Result<()> {
    let has = checkpoint.config.n_layers;
    let Some(layers) = layers else {
        return Ok(());
    };
    if layers > has {
        return Err(Failure::Input(format!(
            "--layers {layers}: the model has {has} layers"
        )));
    }
    checkpoint.config.n_layers = layers;
    checkpoint.weights.layers.truncate(layers);
    Ok(())
}

struct Profile<'a> {
    args: &'a WorkArgs,
    recording: Recording,
    ui: Ui,
}

impl Task for Profile<'_> {
    fn run<B: Backend>(mut self, opened: Opened<B>) -> Result<()> {
        let mut context = opened.load(&self.ui)?;
        let mut spans = self.recording.take();
        if trace::nvtx::listens() {
            self.ui.console.note("nvtx:     a profiler listens");
        }
        let tokens = self.tokens(context.model().config().vocab_size);
        let spinner = self.ui.console.spinner(tokens.len());
        for _ in 0..self.args.warm_ups {
            self.work(&mut context, &tokens)?;
        }
        spinner.finish_and_clear();
        self.recording.take();

        let model = context.model().clone();
        let backend = model.backend();
        backend.start_profile(self.args.trace.is_some())?;
        let done = self.work(&mut context, &tokens);
        let on_device = backend.end_profile();
        done?;
        spans.extend(self.recording.take());
        spans.extend(on_device?);
        if let Some(path) = &self.args.trace {
            write_trace(&spans, path)?;
        }
        let totals = trace::totals(&spans);
        self.ui.output.text(&report::table(&totals))?;
        self.ui.output.json(&report::Report::new(&totals, &context))
    }
}

impl Profile<'_> {
    /// Random tokens: every prompt is as good as any other for where time goes,
    /// but for which rows of V stay hot.
    fn tokens(&self, vocab: usize) -> Vec<u32> {
        let mut rng = ChaCha8Rng::seed_from_u64(SEED);
        let count = self.args.prompt_tokens + self.args.decode_steps;
        (0..count)
            .map(|_| rng.random_range(0..vocab as u32))
            .collect()
    }

    /// Reads the prompt and decodes the tokens after it.
    fn work<B: Backend>(&self, context: &mut Context<B>, tokens: &[u32]) -> kcache::Result<()> {
        let cancel: &CancelFlag = &self.ui.interrupt.cancel;
        let mut sequence = context.sequence()?;
        let (prompt, next) = tokens.split_at(self.args.prompt_tokens);
        context.prefill(&mut sequence, prompt, cancel)?;
        for &token in next {
            cancel.check()?;
            let sequence = &mut sequence;
            context.decode(&mut [Step { sequence, token }])?;
        }
        Ok(())
    }
}

fn write_trace(spans: &[Span], path: &Path) -> Result<()> {
    let write = || {
        let mut file = BufWriter::new(File::create(path)?);
        trace::write_chrome_trace(spans, &mut file)?;
        file.flush()
    };
    write().map_err(|e| Failure::Input(format!("--trace {}: {e}", path.display())))
}
