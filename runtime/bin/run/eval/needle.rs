//! Needles in a real text: numbers put at chosen depths, asked for at its end.

use std::fmt::Write as _;

use clap::Args;
use kcache::backend::Backend;
use kcache::engine::{ContextOptions, Sampler, SamplingParams, Step};
use kcache::models::tokenizer::Tokenizer;
use kcache::{Context, Sequence};
use serde::Serialize;

use super::policies::Named;
use crate::failure::{Failure, Result};
use crate::session::{Opened, Task};
use crate::ui::Ui;

/// What a number is the number of; so many needles there can be.
const PLACES: [&str; 6] = ["harbour", "mill", "tower", "bridge", "garden", "market"];
/// Tokens that an answer may take.
const ANSWER: usize = 8;

/// Which needles, and where.
#[derive(Debug, Args)]
#[command(next_help_heading = "Needles")]
pub struct NeedleArgs {
    /// Hide numbers in the text and ask for them, instead of measuring perplexity; the question and its answer are read under the KV policy
    #[arg(long, env = "KCACHE_NEEDLES", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=PLACES.len() as i64))]
    needles: Option<u16>,
    /// Tokens of the texts
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "500,1000",
        requires = "needles",
        env = "KCACHE_LENGTHS"
    )]
    lengths: Vec<usize>,
    /// Where in a text the first needle is, 0 to 1; more needles follow at equal distances
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "0.1,0.5,0.9",
        requires = "needles",
        env = "KCACHE_DEPTHS"
    )]
    depths: Vec<f64>,
}

impl NeedleArgs {
    /// The needles to hide, if any.
    ///
    /// # Errors
    /// [`Failure::Input`] for a depth outside 0 to 1.
    pub fn count(&self) -> Result<Option<usize>> {
        match self
            .depths
            .iter()
            .find(|depth| !(0.0..=1.0).contains(*depth))
        {
            Some(depth) => Err(Failure::Input(format!("--depths {depth}: expected 0 to 1"))),
            None => Ok(self.needles.map(usize::from)),
        }
    }

    /// Tokens that the longest text takes with its questions.
    pub fn longest(&self) -> usize {
        self.lengths.iter().copied().max().unwrap_or(1)
    }
}

/// The search that the flags ask for.
pub struct Search<'a> {
    /// What the needles are hidden in.
    pub text: String,
    /// Where.
    pub args: &'a NeedleArgs,
    /// How many.
    pub needles: usize,
    /// Which policies look for them.
    pub policies: Vec<Named>,
    /// Where to say things.
    pub ui: Ui,
}

/// What one policy found in the texts of one length.
#[derive(Serialize)]
struct Row {
    policy: String,
    length: usize,
    /// Share of the needles found at each depth.
    found: Vec<f64>,
}

#[derive(Serialize)]
struct Report<'a> {
    needles: usize,
    depths: &'a [f64],
    rows: Vec<Row>,
}

impl Task for Search<'_> {
    fn run<B: Backend>(mut self, opened: Opened<B>) -> Result<()> {
        let text = opened.checkpoint.tokenizer.encode(&self.text, true)?;
        if text.len() < self.args.longest() {
            let (got, wanted) = (text.len(), self.args.longest());
            return Err(Failure::Input(format!(
                "the text has {got} tokens, fewer than the longest of --lengths, {wanted}"
            )));
        }
        let first = opened.load(&self.ui)?;
        let (model, n_ctx) = (first.model().clone(), first.n_ctx());
        let mut rows = Vec::new();
        for named in &self.policies {
            let options = ContextOptions {
                n_ctx: Some(n_ctx),
                policy: named.policy.clone(),
                ..ContextOptions::default()
            };
            let mut context = Context::new(model.clone(), &options)?;
            for &length in &self.args.lengths {
                let depths = self.args.depths.iter();
                let found = depths.map(|&depth| self.found(&mut context, &text, length, depth));
                rows.push(Row {
                    policy: named.name.clone(),
                    length,
                    found: found.collect::<Result<_>>()?,
                });
            }
        }
        let depths = &self.args.depths;
        self.ui.output.text(&table(&rows, depths))?;
        let needles = self.needles;
        self.ui.output.json(&Report {
            needles,
            depths,
            rows,
        })
    }
}

impl Search<'_> {
    /// The share of the needles that are found in `text`, cut to `length` tokens
    /// with needles and questions.
    fn found<B: Backend>(
        &self,
        context: &mut Context<B>,
        text: &[u32],
        length: usize,
        depth: f64,
    ) -> Result<f64> {
        let model = context.model().clone();
        let tokenizer = model.tokenizer();
        let hay = Haystack::new(tokenizer, text, self.needles, length, depth)?;
        let mut sequence = context.sequence()?;
        let cancel = &self.ui.interrupt.cancel;
        context.prefill(&mut sequence, &hay.tokens, cancel)?;
        let mut found = 0;
        for (place, number) in &hay.needles {
            cancel.check()?;
            sequence.truncate(hay.tokens.len());
            let question = tokenizer.encode(&question(place), false)?;
            let answer = answer(context, &mut sequence, &question)?;
            found += usize::from(tokenizer.decode(&answer, true)?.contains(number.as_str()));
        }
        Ok(found as f64 / hay.needles.len() as f64)
    }
}

/// A text with needles.
struct Haystack {
    tokens: Vec<u32>,
    /// Place and number.
    needles: Vec<(&'static str, String)>,
}

impl Haystack {
    fn new(
        tokenizer: &Tokenizer,
        text: &[u32],
        count: usize,
        length: usize,
        depth: f64,
    ) -> Result<Self> {
        let number =
            |i: usize| 1000 + (length * 37 + i * 2503 + (depth * 100.0) as usize * 71) % 9000;
        let needles: Vec<_> = (0..count)
            .map(|i| (PLACES[i], number(i).to_string()))
            .collect();
        let sentences = needles.iter().map(|(place, number)| {
            tokenizer.encode(
                &format!(" The secret number of the {place} is {number}."),
                false,
            )
        });
        let sentences = sentences.collect::<std::result::Result<Vec<_>, _>>()?;
        let reserved: usize = sentences.iter().map(Vec::len).sum::<usize>()
            + ANSWER
            + tokenizer.encode(&question(PLACES[0]), false)?.len()
            + 4;
        let Some(room) = length.checked_sub(reserved).filter(|&room| room > 0) else {
            return Err(Failure::Input(format!(
                "--lengths {length}: the needles and a question take {reserved} tokens"
            )));
        };
        let (text, mut tokens, mut from) = (&text[..room], Vec::new(), 0);
        for (i, sentence) in sentences.iter().enumerate() {
            let at = depth + (1.0 - depth) * i as f64 / count as f64;
            let at = sentence_end(tokenizer, text, (at * room as f64) as usize)?.max(from);
            tokens.extend_from_slice(&text[from..at]);
            tokens.extend_from_slice(sentence);
            from = at;
        }
        tokens.extend_from_slice(&text[from..]);
        Ok(Self { tokens, needles })
    }
}

/// The first position from `from` on that follows a full stop.
fn sentence_end(tokenizer: &Tokenizer, text: &[u32], from: usize) -> Result<usize> {
    for at in from.max(1)..text.len() {
        if tokenizer.decode(&text[at - 1..at], true)?.ends_with('.') {
            return Ok(at);
        }
    }
    Ok(text.len())
}

fn question(place: &str) -> String {
    format!("\n\nThe secret number of the {place} is")
}

/// Reads the question and answers it, step by step under the policy.
fn answer<B: Backend>(
    context: &mut Context<B>,
    sequence: &mut Sequence<B>,
    question: &[u32],
) -> Result<Vec<u32>> {
    let mut sampler = Sampler::new(SamplingParams::greedy())?;
    let (mut answer, mut logits) = (Vec::new(), Vec::new());
    for &token in question {
        logits = context.decode(&mut [Step { sequence, token }])?;
    }
    while answer.len() < ANSWER {
        let token = sampler.sample(&logits, sequence.tokens())?;
        answer.push(token);
        logits = context.decode(&mut [Step { sequence, token }])?;
    }
    Ok(answer)
}

/// A table in Markdown.
fn table(rows: &[Row], depths: &[f64]) -> String {
    let mut table = String::from("| policy | tokens |");
    depths.iter().for_each(|depth| {
        let _ = write!(table, " depth {depth} |");
    });
    table += "\n|---|---:|";
    table += &"---:|".repeat(depths.len());
    for row in rows {
        let _ = write!(table, "\n| {} | {} |", row.policy, row.length);
        row.found.iter().for_each(|share| {
            let _ = write!(table, " {:.0}% |", 100.0 * share);
        });
    }
    table.push('\n');
    table
}
