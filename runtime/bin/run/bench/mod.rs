//! `run bench`: how fast a model reads and generates, in rows as llama-bench's.

mod case;
mod figures;
mod markdown;
mod measure;
mod row;
mod writer;

use std::sync::Arc;

use clap::Args;
use clap::builder::FalseyValueParser;
use kcache::backend::{Backend, Bandwidth};
use kcache::cache::KvPolicy;
use kcache::engine::ContextOptions;
use kcache::{Context, Model};

use crate::console::Console;
use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;
use crate::kv_args::KvArgs;
use crate::model_args::{ComputeArgs, positive};
use crate::output::Output;
use crate::session::{self, Opened, Task};
use crate::sizes::Sizes;
use crate::subject::SubjectArgs;
use crate::ui::Ui;
use case::{Case, cases};
use figures::Figures;
use measure::Bench;
use row::{Row, Setting};
use writer::{Format, Writer};

/// Flags of `run bench`.
#[derive(Debug, Args)]
#[command(after_help = "\
Lists of sizes are separated by commas and may hold ranges: 128-512+128 is
128,256,384,512, and 128-1024*2 is 128,256,512,1024. Every combination is measured.")]
pub struct BenchArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    #[command(flatten)]
    compute: ComputeArgs,
    #[command(flatten)]
    sizes: SizeArgs,
    #[command(flatten)]
    kv: KvArgs,
    #[command(flatten)]
    output: BenchOutputArgs,
}

/// How much of it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Benchmark")]
struct SizeArgs {
    /// Prompt tokens (rows pp), 0 for none
    #[arg(
        short = 'p',
        long,
        value_name = "LIST",
        default_value = "512",
        env = "KCACHE_N_PROMPT"
    )]
    n_prompt: Sizes,
    /// Generated tokens (rows tg), 0 for none
    #[arg(
        short,
        long,
        value_name = "LIST",
        default_value = "128",
        env = "KCACHE_N_GEN"
    )]
    n_gen: Sizes,
    /// Tokens that the KV cache holds before (rows @ d)
    #[arg(
        short = 'd',
        long,
        value_name = "LIST",
        default_value = "0",
        env = "KCACHE_N_DEPTH"
    )]
    n_depth: Sizes,
    /// Sequences that are computed together
    #[arg(
        short,
        long,
        value_name = "LIST",
        default_value = "1",
        env = "KCACHE_BATCH"
    )]
    batch: Sizes,
    /// How often each row is measured, after one time that does not count
    #[arg(
        short,
        long,
        value_name = "N",
        default_value = "5",
        value_parser = positive,
        env = "KCACHE_REPETITIONS"
    )]
    repetitions: usize,
}

/// How results are shown.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
struct BenchOutputArgs {
    /// Format of the rows
    #[arg(
        short,
        long,
        value_enum,
        value_name = "FORMAT",
        default_value = "md",
        env = "KCACHE_OUTPUT"
    )]
    output: Format,
    /// Print nothing but errors on standard error
    #[arg(short, long, env = "KCACHE_QUIET", value_parser = FalseyValueParser::new())]
    quiet: bool,
}

/// Measures and prints row by row. A signal ends the program at once.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &BenchArgs) -> Result<()> {
    let interrupt = Interrupt::install()?;
    let ui = Ui {
        output: Output::new(false),
        console: Console::new(args.output.quiet),
        interrupt: interrupt.clone(),
    };
    ui.console.warn_of_debug_build();
    let sweep = args.kv.sweep()?;
    let cases = args.sizes.cases()?;
    let n_ctx = longest(&cases);
    let policies = sweep.first().cloned().unwrap_or_default();
    interrupt.while_waiting(|| {
        let source = args.subject.open(&args.compute, n_ctx, None)?;
        let task = Measure {
            args,
            cases,
            sweep,
            ui,
        };
        session::open_source(source, &args.compute, Some(n_ctx), policies, task)
    })
}

struct Measure<'a> {
    args: &'a BenchArgs,
    cases: Vec<Case>,
    sweep: Vec<Vec<KvPolicy>>,
    ui: Ui,
}

impl Task for Measure<'_> {
    fn sequences(&self) -> usize {
        let batches = self.cases.iter().map(|case| case.batch);
        batches.max().unwrap_or(1)
    }

    fn run<B: Backend>(self, opened: Opened<B>) -> Result<()> {
        let model = opened.load(&self.ui)?.model().clone();
        let bandwidth = model.backend().bandwidth()?;
        self.ui.console.note(roof_line(&bandwidth));
        let mut writer = Writer::new(self.args.output.output, self.ui.output);
        for policies in &self.sweep {
            // Cases that share a batch and a depth share what fills the sequences.
            for cases in self
                .cases
                .chunk_by(|a, b| (a.batch, a.depth) == (b.batch, b.depth))
            {
                let options = ContextOptions {
                    n_ctx: Some(longest(cases)),
                    sequences: cases[0].batch,
                    chunk: self.args.compute.chunk,
                    policy: KvPolicy::default(),
                };
                let (options, _) = options.fit_loaded(policies.clone(), &model)?;
                let context = Context::new(model.clone(), &options)?;
                let mut bench = Bench::new(context, cases[0].batch)?;
                for case in cases {
                    let figures = self.args.measure(&mut bench, case, &bandwidth)?;
                    let setting = self.args.setting(&model, &options.policy, &bandwidth);
                    writer.row(&Row::new(&setting, case, &figures))?;
                }
            }
        }
        writer.finish()
    }
}

impl BenchArgs {
    fn measure<B: Backend>(
        &self,
        bench: &mut Bench<B>,
        case: &Case,
        bandwidth: &Bandwidth,
    ) -> Result<Figures> {
        bench.repeat(case)?;
        let samples: Vec<_> = (0..self.sizes.repetitions)
            .map(|_| bench.repeat(case))
            .collect::<kcache::Result<_>>()?;
        let weights = bench.context().model().step_weight_bytes();
        Ok(Figures::new(case, &samples, weights, bandwidth))
    }

    fn setting<B: Backend>(
        &self,
        model: &Arc<Model<B>>,
        policy: &KvPolicy,
        bandwidth: &Bandwidth,
    ) -> Setting {
        let sizes = model.weight_sizes();
        Setting {
            model: self.subject.name(),
            weight_bytes: model.weight_bytes(),
            parameters: sizes.matrix_elements + sizes.vector_elements,
            backend: model.backend().name(),
            debug_build: cfg!(debug_assertions),
            policy: policy.clone(),
            near_bytes_per_second: bandwidth.near,
            link_bytes_per_second: bandwidth.link,
            repetitions: self.sizes.repetitions,
        }
    }
}

impl SizeArgs {
    fn cases(&self) -> Result<Vec<Case>> {
        let [batches, depths, prompts, generated] =
            [&self.batch, &self.n_depth, &self.n_prompt, &self.n_gen].map(|Sizes(list)| list);
        if batches.contains(&0) {
            return Err(Failure::Input("--batch needs at least 1 sequence".into()));
        }
        let cases = cases(batches, depths, prompts, generated);
        match cases.is_empty() {
            true => Err(Failure::Input(
                "nothing to measure: --n-prompt and --n-gen are both 0".into(),
            )),
            false => Ok(cases),
        }
    }
}

/// Tokens of the longest sequence.
fn longest(cases: &[Case]) -> usize {
    let lengths = cases
        .iter()
        .map(|case| case.held().saturating_add(case.tokens()));
    lengths.max().unwrap_or(0)
}

fn roof_line(bandwidth: &Bandwidth) -> String {
    let link = bandwidth
        .link
        .map(|rate| format!("; link to the host {:.1} GB/s", rate / 1e9));
    let near = bandwidth.near / 1e9;
    format!(
        "roof:     memory {near:.1} GB/s{}",
        link.unwrap_or_default()
    )
}
