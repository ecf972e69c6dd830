//! `run eval`: how well a model predicts a text.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use kcache::backend::Backend;
use kcache::cache::KvCounters;
use kcache::engine::perplexity::{Perplexity, perplexity};

use crate::cli::OutputArgs;
use crate::failure::{Failure, Result};
use crate::input::read_file;
use crate::json::EvalJson;
use crate::kv_args::KvArgs;
use crate::model_args::ModelArgs;
use crate::session::{self, Opened, Task};
use crate::ui::Ui;

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
    output: OutputArgs,
}

/// Which part of which text is read, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "Text")]
struct TextArgs {
    /// File with the text
    #[arg(short, long, value_name = "FILE", env = "KCACHE_FILE")]
    file: PathBuf,
    /// Begin where this first occurs in the file
    #[arg(
        long,
        value_name = "TEXT",
        allow_hyphen_values = true,
        env = "KCACHE_START"
    )]
    start: Option<String>,
    /// Tokens of the text; all but the first are predicted
    #[arg(long, value_name = "N", default_value_t = 2048, env = "KCACHE_TOKENS")]
    tokens: usize,
    /// Of those, tokens read as a prompt, with dense attention; the others are read one by one, under the KV policy
    #[arg(long, value_name = "N", default_value_t = 1024, env = "KCACHE_PREFILL")]
    prefill: usize,
}

/// Prints the perplexity of the prefilled and of the decoded part.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &EvalArgs) -> Result<()> {
    let ui = Ui::new(&args.output)?;
    let policies = args.kv.policies()?;
    let text = args.text.read(&ui)?;
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

impl TextArgs {
    /// The text from where it begins.
    fn read(&self, ui: &Ui) -> Result<String> {
        let mut text = read_file(&self.file, &ui.interrupt)?;
        if let Some(start) = &self.start {
            let missing = || self.refused(format!("does not contain {start:?}"));
            text.drain(..text.find(start.as_str()).ok_or_else(missing)?);
        }
        Ok(text)
    }

    fn cut(&self, tokens: &mut Vec<u32>) -> Result<()> {
        if tokens.len() < self.tokens {
            let (got, wanted) = (tokens.len(), self.tokens);
            return Err(self.refused(format!("has {got} tokens, fewer than --tokens {wanted}")));
        }
        tokens.truncate(self.tokens);
        Ok(())
    }

    fn refused(&self, why: String) -> Failure {
        Failure::Input(format!("{}: {why}", self.file.display()))
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
