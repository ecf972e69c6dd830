//! `run eval`: how well a model predicts a text.

mod needle;
mod picture;
mod policies;
pub mod sweep;
mod text;

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use kcache::backend::Backend;
use kcache::cache::KvCounters;
use kcache::engine::perplexity::{Perplexity, perplexity};

use crate::cli::OutputArgs;
use crate::failure::Result;
use crate::json::EvalJson;
use crate::kv_args::KvArgs;
use crate::model_args::ModelArgs;
use crate::session::{self, Opened, Task};
use crate::ui::Ui;
use needle::{NeedleArgs, Search};
use policies::Named;
use sweep::Sweep;
use text::TextArgs;

/// Flags of `run eval`.
#[derive(Debug, Args)]
pub struct EvalArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    text: TextArgs,
    #[command(flatten)]
    kv: KvArgs,
    #[command(flatten)]
    sweep: SweepArgs,
    #[command(flatten)]
    needles: NeedleArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Several policies instead of one.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sweep")]
struct SweepArgs {
    /// Policies to compare step by step, such as full,topn:64,topp:0.95,kcache: a table of each beside the first; the --v flags hold for all
    #[arg(
        long,
        value_name = "LIST",
        conflicts_with_all = ["kv", "v_top_n", "v_hot_rows"],
        env = "KCACHE_POLICIES"
    )]
    policies: Option<String>,
    /// Draw the sweep: cost against rows used, and what each layer keeps
    #[arg(long, value_name = "FILE", requires = "policies", env = "KCACHE_SVG")]
    svg: Option<PathBuf>,
}

/// Prints the perplexity of the prefilled and of the decoded part.
///
/// # Errors
/// [`crate::failure::Failure`].
pub fn run(args: &EvalArgs) -> Result<()> {
    let ui = Ui::new(&args.output)?;
    let text = args.text.read(&ui)?;
    let list = args.sweep.policies.as_deref();
    let first = |policies: &[Named]| vec![policies[0].policy.clone()];
    if let Some(needles) = args.needles.count()? {
        let policies = policies::parse(list.unwrap_or("full"), &args.kv.kcache())?;
        let (n_ctx, first) = (args.needles.longest(), first(&policies));
        let search = Search {
            text,
            args: &args.needles,
            needles,
            policies,
            ui,
        };
        return session::open(&args.model, Some(n_ctx), first, search);
    }
    if let Some(list) = list {
        let policies = policies::parse(list, &args.kv.kcache())?;
        let first = first(&policies);
        let sweep = Sweep {
            text,
            args: &args.text,
            policies,
            svg: args.sweep.svg.as_deref(),
            ui,
        };
        return session::open(&args.model, Some(args.text.tokens), first, sweep);
    }
    let policies = args.kv.policies()?;
    let task = Score {
        text,
        args: &args.text,
        ui,
    };
    session::open(&args.model, Some(args.text.tokens), policies, task)
}

struct Score<'a> {
    text: String,
    args: &'a TextArgs,
    ui: Ui,
}

impl Task for Score<'_> {
    fn run<B: Backend>(mut self, opened: Opened<B>) -> Result<()> {
        let mut tokens = opened.checkpoint.tokenizer.encode(&self.text, true)?;
        self.args.cut(&mut tokens)?;

        let mut context = opened.load(&self.ui)?;
        let mut sequence = context.sequence()?;
        let bar = self.ui.console.tokens_bar("reading");
        let mut progress = |done, total| {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
        };
        let scores = perplexity(
            &mut context,
            &mut sequence,
            &tokens,
            self.args.prefill,
            &self.ui.interrupt.cancel,
            &mut progress,
        );
        bar.finish_and_clear();
        let scores = scores?;
        let output = &mut self.ui.output;
        output.text(&table(&scores, &sequence.counters()))?;
        output.json(&EvalJson::new(&scores, &sequence, &context))
    }
}

fn table([prefilled, decoded]: &[Perplexity; 2], kv: &KvCounters) -> String {
    let mut table = String::from("part       tokens  mean NLL  perplexity\n");
    for (part, score) in [("prefilled", prefilled), ("decoded", decoded)] {
        if score.tokens > 0 {
            let (nll, value) = (score.mean_nll(), score.value());
            let _ = writeln!(
                table,
                "{part:<9}  {:>6}  {nll:>8.5}  {value:>10.4}",
                score.tokens
            );
        }
    }
    if let Some(rows) = kv.mean_set() {
        let _ = write!(table, "mean rows of V {rows:.1}");
        if let Some(rate) = kv.hit_rate() {
            let _ = write!(table, ", hot-row hit rate {:.2}%", 100.0 * rate);
        }
        table.push('\n');
    }
    table
}
