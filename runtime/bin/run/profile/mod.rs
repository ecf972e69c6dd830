//! `run profile`: where the time goes.

mod report;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use kcache::Context;
use kcache::backend::Backend;
use kcache::cache::Selection;
use kcache::engine::{CancelFlag, Step};
use kcache::trace::{self, Recording, Span};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::cli::OutputArgs;
use crate::failure::{Failure, Result};
use crate::kv_args::KvArgs;
use crate::model_args::{ComputeArgs, positive};
use crate::session::{self, Opened, Task};
use crate::subject::SubjectArgs;
use crate::ui::Ui;

/// Seed of the tokens that are read.
const SEED: u64 = 0;

/// Flags of `run profile`.
#[derive(Debug, Args)]
pub struct ProfileArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    #[command(flatten)]
    compute: ComputeArgs,
    #[command(flatten)]
    work: WorkArgs,
    #[command(flatten)]
    kv: KvArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What is profiled.
#[derive(Debug, Args)]
#[command(next_help_heading = "Profile")]
struct WorkArgs {
    /// Tokens of the prompt, drawn at random with a fixed seed
    #[arg(
        short = 'p',
        long,
        value_name = "N",
        value_parser = positive,
        default_value_t = 512,
        env = "KCACHE_N_PROMPT"
    )]
    n_prompt: usize,
    /// Decode steps after it
    #[arg(
        short,
        long,
        value_name = "N",
        value_parser = positive,
        default_value_t = 32,
        env = "KCACHE_N_GEN"
    )]
    n_gen: usize,
    /// Sequences that are decoded together, each after such a prompt of its own
    #[arg(
        short,
        long,
        value_name = "N",
        value_parser = positive,
        default_value_t = 1,
        env = "KCACHE_BATCH"
    )]
    batch: usize,
    /// How often the same is done before the profile begins
    #[arg(long, value_name = "N", default_value_t = 1, env = "KCACHE_WARM_UPS")]
    warm_ups: usize,
    /// Leading layers of the model to compute with [default: all]
    #[arg(long, value_name = "N", value_parser = positive, env = "KCACHE_LAYERS")]
    layers: Option<usize>,
    /// Write a timeline for https://ui.perfetto.dev or chrome://tracing; on a GPU with the times of its streams and of the blocks of attention, for which steps run without a graph
    #[arg(long, value_name = "FILE", env = "KCACHE_TRACE")]
    trace: Option<PathBuf>,
}

/// Prints what each range took. A signal ends the program at once.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &ProfileArgs) -> Result<()> {
    let ui = Ui::new(&args.output)?;
    ui.console.warn_of_debug_build();
    let interrupt = ui.interrupt.clone();
    let policies = args.kv.policies()?;
    let work = &args.work;
    let n_ctx = work.n_prompt.saturating_add(work.n_gen);
    interrupt.while_waiting(|| {
        let source = args.subject.open(&args.compute, n_ctx, work.layers)?;
        let task = Profile { args: work, ui };
        session::open_source(source, &args.compute, Some(n_ctx), policies, task)
    })
}

struct Profile<'a> {
    args: &'a WorkArgs,
    ui: Ui,
}

impl Task for Profile<'_> {
    fn sequences(&self) -> usize {
        self.args.batch
    }

    fn run<B: Backend>(mut self, opened: Opened<B>) -> Result<()> {
        let recording = Recording::start()?;
        let mut context = opened.load(&self.ui)?;
        let mut spans = recording.take();
        let out = self.args.trace.as_deref().map(TraceFile::create);
        let out = out.transpose()?;
        self.remark(&context);
        let tokens = self.tokens(context.model().config().vocab_size);
        let spinner = self
            .ui
            .console
            .spinner(self.args.n_prompt * self.args.batch);
        for _ in 0..self.args.warm_ups {
            work(&mut context, &tokens)?;
        }
        recording.take();

        let model = context.model().clone();
        model.backend().start_profile(out.is_some())?;
        let done = work(&mut context, &tokens);
        let on_device = model.backend().end_profile();
        spinner.finish_and_clear();
        done?;
        spans.extend(recording.take());
        spans.extend(on_device?);
        if let Some(out) = out {
            out.write(&spans)?;
        }
        let (totals, blocks) = (trace::totals(&spans), trace::block_times(&spans));
        let tables = report::table(&totals) + &report::blocks_table(&blocks);
        self.ui.output.text(&tables)?;
        let report = report::Report::new(&totals, &blocks, &context);
        self.ui.output.json(&report)
    }
}

impl Profile<'_> {
    /// Random tokens: every prompt is as good as any other for where time goes,
    /// but for which rows of V stay hot.
    fn tokens(&self, vocab: usize) -> Tokens {
        let mut rng = ChaCha8Rng::seed_from_u64(SEED);
        let mut draw = |n| -> Vec<u32> {
            let tokens = (0..n).map(|_| rng.random_range(0..vocab as u32));
            tokens.collect()
        };
        let WorkArgs {
            n_prompt,
            n_gen,
            batch,
            ..
        } = *self.args;
        Tokens {
            prompts: (0..batch).map(|_| draw(n_prompt)).collect(),
            steps: (0..n_gen).map(|_| draw(batch)).collect(),
        }
    }

    /// Says who listens, and that a policy has no layer to act on.
    fn remark<B: Backend>(&self, context: &Context<B>) {
        let console = &self.ui.console;
        if trace::nvtx::listens() {
            console.note("nvtx:     a profiler listens");
        }
        let policy = context.policy();
        let layers = context.model().config().n_layers;
        if policy.selection != Selection::Full && layers <= policy.dense_layers {
            console.note(format!(
                "policy:   all {layers} layers keep V beside K; --v-dense-layers 0 changes that"
            ));
        }
    }
}

/// What is read and decoded.
struct Tokens {
    /// A prompt for each sequence.
    prompts: Vec<Vec<u32>>,
    /// For each step a token of each sequence.
    steps: Vec<Vec<u32>>,
}

/// Reads the prompts and decodes the tokens after them.
fn work<B: Backend>(context: &mut Context<B>, tokens: &Tokens) -> kcache::Result<()> {
    let mut sequences = Vec::new();
    for prompt in &tokens.prompts {
        let mut sequence = context.sequence()?;
        // A signal ends the program.
        context.prefill(&mut sequence, prompt, &CancelFlag::default())?;
        sequences.push(sequence);
    }
    for next in &tokens.steps {
        let with = sequences.iter_mut().zip(next);
        let mut steps: Vec<Step<'_, B>> = with
            .map(|(sequence, &token)| Step { sequence, token })
            .collect();
        context.decode(&mut steps)?;
    }
    Ok(())
}

/// Where the timeline goes.
struct TraceFile<'a> {
    path: &'a Path,
    file: File,
}

impl<'a> TraceFile<'a> {
    /// Made before the work, so that it is not done in vain.
    fn create(path: &'a Path) -> Result<Self> {
        match File::create(path) {
            Ok(file) => Ok(Self { path, file }),
            Err(e) => Err(Failure::Input(format!("--trace {}: {e}", path.display()))),
        }
    }

    fn write(&self, spans: &[Span]) -> Result<()> {
        let mut out = BufWriter::new(&self.file);
        trace::write_chrome_trace(spans, &mut out)
            .and_then(|()| out.flush())
            .map_err(|e| Failure::System(format!("--trace {}: {e}", self.path.display())))
    }
}
