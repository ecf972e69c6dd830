//! Which replacement policy of the hot rows misses least, on a real model.
//!
//! ```text
//! cargo bench --bench hot_rows
//! cargo bench --bench hot_rows -- --tokens 8192
//! ```
//!
//! Reads a text as `run eval` does and notes which rows every step selects
//! between sinks and window; then each policy keeps rows of every KV head in
//! caches of some sizes, which are empty at the first step. What is printed is
//! the share of needed rows that were not in the cache when a step began, over
//! all KV heads of sparse layers. The program fails if its LRU and the hot rows
//! of the engine itself differ.
#![allow(clippy::print_stdout)]

mod check;
mod policy;
mod record;
mod rows;

use std::error::Error;
use std::path::PathBuf;

use clap::Parser;
use kcache::cache::{KvPolicy, Selection};
use rayon::prelude::*;

use policy::{Policy, Tally, replay};
use record::{Recording, record};
use rows::Rows;

/// Slots of a cache for each row that a step needs.
const SIZES: [usize; 3] = [2, 4, 8];

/// Slots of the engine's own hot rows, of the same.
const ENGINE_SIZE: usize = 4;

/// Points of percent that LRU may be off the engine's: rows that were last
/// used in the same step leave in another order there.
const TOLERANCE: f64 = 0.1;

#[derive(Debug, Parser)]
struct Args {
    #[arg(long, default_value = "cache/models/SmolLM2-135M-Instruct.Q4_1.gguf")]
    model: PathBuf,
    /// File with the text.
    #[arg(long, default_value = "cache/texts/prideprejudice.txt")]
    text: PathBuf,
    /// Begin where this first occurs in the file.
    #[arg(long, default_value = "It is a truth universally")]
    start: String,
    /// Tokens that are read.
    #[arg(long, default_value_t = 4096)]
    tokens: usize,
    /// Of those, tokens that are read as a prompt, with dense attention.
    #[arg(long, default_value_t = 1024)]
    prefill: usize,
    /// Rows that are selected.
    #[arg(long, default_value_t = 128)]
    top_n: usize,
    /// Decode steps before those that count.
    #[arg(long, default_value_t = 256)]
    count_from: usize,
    /// What cargo passes to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Args {
    fn policy(&self) -> KvPolicy {
        KvPolicy {
            selection: Selection::TopN { n: self.top_n },
            hot_rows: ENGINE_SIZE * self.top_n,
            ..KvPolicy::kcache()
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    check::check();
    let recording = record(&args)?;
    println!(
        "| policy |{} |",
        SIZES.map(|size| format!(" {size}N")).join(" |")
    );
    println!("|---|{}", "---:|".repeat(SIZES.len()));
    for policy in Policy::ALL {
        let rate = |size| missed(&recording.heads, policy, size * args.top_n, args.count_from);
        let rates = SIZES.map(|size| format!(" {:.2}", rate(size)));
        println!("| {policy} |{} |", rates.join(" |"));
    }
    println!();
    let first = missed(&recording.heads, Policy::Lru, args.tokens, args.count_from);
    println!("needed for the first time: {first:.2}%");
    compare(&recording, &args)
}

/// Percent of the rows needed from step `from` on that a cache of `capacity` rows misses.
fn missed(heads: &[Rows], policy: Policy, capacity: usize, from: usize) -> f64 {
    let tallies = heads
        .par_iter()
        .map(|rows| replay(rows, policy, capacity, from));
    tallies.reduce(Tally::default, Tally::and).percent()
}

/// Prints LRU beside what the engine counted.
fn compare(recording: &Recording, args: &Args) -> Result<(), Box<dyn Error>> {
    let counted = &recording.counters;
    let engine = Tally {
        needed: counted.rows_needed,
        missed: counted.rows_fetched,
    };
    let slots = args.policy().hot_rows;
    let lru = missed(&recording.heads, Policy::Lru, slots, args.count_from);
    println!(
        "LRU of {slots} rows: {lru:.3}%; counted by the engine: {:.3}% of {} rows",
        engine.percent(),
        engine.needed
    );
    match (lru - engine.percent()).abs() <= TOLERANCE {
        true => Ok(()),
        false => Err(format!("LRU and the engine differ by more than {TOLERANCE} points").into()),
    }
}
