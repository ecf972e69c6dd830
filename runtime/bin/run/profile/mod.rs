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
    /// How often the same is done before the profile begins
    #[arg(long, value_name = "N", default_value_t = 1, env = "KCACHE_WARM_UPS")]
    warm_ups: usize,
    /// Leading layers of the model to compute with [default: all]
    #[arg(long, value_name = "N", value_parser = positive, env = "KCACHE_LAYERS")]
    layers: Option<usize>,
    /// Write a timeline for https://ui.perfetto.dev or chrome://tracing; on a GPU with the times of its streams, for which steps run without a graph
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
        let checkpoint = args.subject.open(&args.compute, n_ctx, work.layers)?;
        let task = Profile { args: work, ui };
        session::open_checkpoint(checkpoint, &args.compute, Some(n_ctx), policies, task)
    })
}

struct Profile<'a> {
    args: &'a WorkArgs,
    ui: Ui,
}

impl Task for Profile<'_> {
    fn run<B: Backend>(mut self, opened: Opened<B>) -> Result<()> {
        let recording = Recording::start()?;
        let mut context = opened.load(&self.ui)?;
        let mut spans = recording.take();
        let out = self.args.trace.as_deref().map(TraceFile::create);
        let out = out.transpose()?;
        self.remark(&context);
        let tokens = self.tokens(context.model().config().vocab_size);
        let spinner = self.ui.console.spinner(self.args.n_prompt);
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
        let totals = trace::totals(&spans);
        self.ui.output.text(&report::table(&totals))?;
        self.ui.output.json(&report::Report::new(&totals, &context))
    }
}

impl Profile<'_> {
    /// Random tokens: every prompt is as good as any other for where time goes,
    /// but for which rows of V stay hot.
    fn tokens(&self, vocab: usize) -> (Vec<u32>, Vec<u32>) {
        let mut rng = ChaCha8Rng::seed_from_u64(SEED);
        let mut draw = |n| {
            (0..n)
                .map(|_| rng.random_range(0..vocab as u32))
                .collect::<Vec<u32>>()
        };
        (draw(self.args.n_prompt), draw(self.args.n_gen))
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

/// Reads a prompt and decodes the tokens after it.
fn work<B: Backend>(
    context: &mut Context<B>,
    (prompt, next): &(Vec<u32>, Vec<u32>),
) -> kcache::Result<()> {
    let mut sequence = context.sequence()?;
    // A signal ends the program.
    context.prefill(&mut sequence, prompt, &CancelFlag::default())?;
    for &token in next {
        let sequence = &mut sequence;
        context.decode(&mut [Step { sequence, token }])?;
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
