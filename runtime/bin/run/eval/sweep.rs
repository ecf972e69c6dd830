//! Several KV policies on one text, step by step side by side.

use std::fmt::Write as _;

use kcache::backend::Backend;
use kcache::cache::KvCounters;
use kcache::engine::ContextOptions;
use kcache::engine::compare::{Candidate, Score, compare};
use kcache::{Context, Sequence};

use super::picture;
use super::policies::Named;
use super::text::TextArgs;
use crate::failure::Result;
use crate::json::SweepJson;
use crate::session::{Opened, Task};
use crate::ui::Ui;

/// The sweep that the flags ask for.
pub struct Sweep<'a> {
    /// The text from where it begins.
    pub text: String,
    /// Which part of it is read.
    pub args: &'a TextArgs,
    /// The first is what the others are compared with.
    pub policies: Vec<Named>,
    /// Where to draw the picture.
    pub svg: Option<&'a std::path::Path>,
    /// Where to say things.
    pub ui: Ui,
}

/// One policy's figures.
pub struct Row {
    /// The policy as it was given.
    pub name: String,
    /// How the text went.
    pub score: Score,
    /// Nats per decoded token over the first policy.
    pub over_first: f64,
    /// Rows and bytes of V.
    pub counters: KvCounters,
    /// The same for each layer that is told apart.
    pub layers: Vec<KvCounters>,
}

impl Task for Sweep<'_> {
    fn run<B: Backend>(mut self, opened: Opened<B>) -> Result<()> {
        let mut tokens = opened.checkpoint.tokenizer.encode(&self.text, true)?;
        self.args.cut(&mut tokens)?;
        let first = opened.load(&self.ui)?;
        let mut contexts = self.contexts(first)?;
        let sequences = contexts.iter().map(Context::sequence);
        let mut sequences = sequences.collect::<kcache::Result<Vec<_>>>()?;
        let scores = self.score(&mut contexts, &mut sequences, &tokens)?;
        let rows = self.rows(scores, &sequences);
        self.ui.output.text(&table(&rows))?;
        self.ui.output.json(&SweepJson::new(&rows, &contexts))?;
        match self.svg {
            Some(path) => picture::draw(&rows, path),
            None => Ok(()),
        }
    }
}

impl Sweep<'_> {
    /// One context for each policy, all of the model of `first`.
    fn contexts<B: Backend>(&self, first: Context<B>) -> Result<Vec<Context<B>>> {
        let (model, n_ctx) = (first.model().clone(), first.n_ctx());
        let mut contexts = vec![first];
        for named in &self.policies[1..] {
            let options = ContextOptions {
                n_ctx: Some(n_ctx),
                policy: named.policy.clone(),
                ..ContextOptions::default()
            };
            contexts.push(Context::new(model.clone(), &options)?);
        }
        Ok(contexts)
    }

    fn score<B: Backend>(
        &self,
        contexts: &mut [Context<B>],
        sequences: &mut [Sequence<B>],
        tokens: &[u32],
    ) -> Result<Vec<Score>> {
        let pairs = contexts.iter_mut().zip(sequences);
        let mut candidates: Vec<_> = pairs
            .map(|(context, sequence)| Candidate { context, sequence })
            .collect();
        let bar = self.ui.console.tokens_bar("reading");
        let cancel = &self.ui.interrupt.cancel;
        let prefill = self.args.prefill;
        let scores = compare(
            &mut candidates,
            tokens,
            prefill,
            cancel,
            &mut |done, total| {
                bar.set_length(total as u64);
                bar.set_position(done as u64);
            },
        );
        bar.finish_and_clear();
        Ok(scores?)
    }

    fn rows<B: Backend>(&self, scores: Vec<Score>, sequences: &[Sequence<B>]) -> Vec<Row> {
        let first = scores.first().map_or(0.0, |score| score.decoded.mean_nll());
        let named = self.policies.iter().zip(sequences);
        scores
            .into_iter()
            .zip(named)
            .map(|(score, (named, sequence))| Row {
                name: named.name.clone(),
                over_first: score.decoded.mean_nll() - first,
                score,
                counters: sequence.counters(),
                layers: sequence.layer_counters(),
            })
            .collect()
    }
}

/// A table in Markdown.
fn table(rows: &[Row]) -> String {
    let first = rows.first().map_or("", |row| &row.name);
    let mut table = format!(
        "| policy | perplexity | nats over {first} | same token | KL | mean rows | mass | hit rate |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|\n"
    );
    let cell = |value: Option<f64>, digits: usize| {
        value.map_or(String::new(), |value| format!("{value:.digits$}"))
    };
    for row in rows {
        let agreement = &row.score.agreement;
        let same = agreement.share().map(|share| 100.0 * share);
        let same = same.map_or(String::new(), |percent| format!("{percent:.1}%"));
        let _ = writeln!(
            table,
            "| {} | {:.3} | {:+.4} | {same} | {} | {} | {} | {} |",
            row.name,
            row.score.decoded.value(),
            row.over_first,
            cell(agreement.mean_divergence(), 4),
            cell(row.counters.mean_set(), 1),
            cell(row.counters.mean_mass(), 3),
            cell(row.counters.hit_rate(), 3),
        );
    }
    table
}
