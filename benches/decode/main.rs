//! A decode step over long contexts, of a geometry with synthetic weights.
//!
//! ```text
//! decode --geometry llama2-7b --batch 8 --length 32768 --kv kcache --layers 6 --attention
//! decode --geometry llama2-7b --batch full,max --length 32768
//! ```
//!
//! Queries of following steps resemble each other by `--rho`, so that the rows
//! they select overlap as they do in a real model; with 0 they have nothing in
//! common. `benches/peers/torch_decode.py` prints the same figures for PyTorch.
#![allow(clippy::print_stdout)]

mod batch;
mod launches;
mod queries;
mod step;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Parser, ValueEnum};
use kcache::Result;
use kcache::backend::SequenceCache;
use kcache::backend::cuda::{Cuda, Tuning};
use kcache::cache::{KvCounters, KvPolicy, Selection};
use kcache::driver::{DeviceChoice, LaunchClock, Placement};
use kcache::synthetic::Geometry;
use kcache::trace::{Stage, block_times};
use serde_json::json;

use batch::{Batch, Fitting};
use step::Bench;

#[derive(Debug, Parser)]
struct Args {
    #[arg(long, default_value = "llama2-7b")]
    geometry: Geometry,
    /// Sequences: a number; `max` for as many as fit, where hot rows give way before a
    /// sequence does; `full` for as many as fit with full K and V. Several are
    /// separated by commas and measured one after the other.
    #[arg(long, value_delimiter = ',', default_value = "8")]
    batch: Vec<Batch>,
    /// Positions of each at the last step.
    #[arg(long, default_value_t = 8192)]
    length: usize,
    /// Fewer layers than the geometry has.
    #[arg(long)]
    layers: Option<usize>,
    /// Which rows of V are read, and where they are.
    #[arg(long, value_enum, default_value = "kcache")]
    kv: Kv,
    /// Rows that are selected.
    #[arg(long, default_value_t = 128)]
    top_n: usize,
    /// Hot rows of each KV head.
    #[arg(long, default_value_t = 512)]
    hot_rows: usize,
    /// How much a query is like the one before it.
    #[arg(long, default_value_t = 0.97)]
    rho: f32,
    /// Steps before those that are timed, and of those.
    #[arg(long, default_value_t = 20)]
    steps: usize,
    /// Attention alone, without weights.
    #[arg(long)]
    attention: bool,
    /// Also tell what the blocks of attention do inside a launch, of a step more.
    #[arg(long)]
    blocks: bool,
    /// Also tell what each launch adds to a step, of some steps more.
    #[arg(long)]
    launches: bool,
    /// Which kernels take which work, as `tuning.json`; if not given, as compiled in.
    #[arg(long)]
    tuning: Option<PathBuf>,
    /// What cargo passes to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Args {
    /// Steps before those that are timed, those, and those that are looked into.
    fn all_steps(&self) -> usize {
        let looked_into = if self.launches { launches::STEPS } else { 0 };
        2 * self.steps + looked_into + usize::from(self.blocks)
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kv {
    Full,
    Kcache,
}

/// Which kernels take which work.
fn tuning(path: Option<&Path>) -> Result<Tuning> {
    let Some(path) = path else {
        return Tuning::embedded();
    };
    let source = path.display().to_string();
    let refused = |e| kcache::Error::InvalidArgument(format!("{source}: {e}"));
    let json = fs::read_to_string(path).map_err(refused)?;
    Tuning::parse(&json, &source)
}

fn main() -> Result<()> {
    let args = Args::parse();
    let Placement::Cuda(device) = DeviceChoice::Auto.place()? else {
        println!("nothing to measure: no GPU");
        return Ok(());
    };
    let policy = match args.kv {
        Kv::Full => KvPolicy::full(),
        Kv::Kcache => KvPolicy {
            selection: Selection::TopN { n: args.top_n },
            hot_rows: args.hot_rows,
            // All layers alike, so that one tells of all.
            dense_layers: 0,
            ..KvPolicy::kcache()
        },
    };
    let tuning = tuning(args.tuning.as_deref())?;
    let (backend, clock) = if args.launches {
        let (backend, clock) = Cuda::with_launch_clock(device, &tuning)?;
        (backend, Some(clock))
    } else {
        (Cuda::with_tuning(device, &tuning)?, None)
    };
    for batch in &args.batch {
        let fitting = batch.fit(&backend, &args, &policy)?;
        measure(&args, &backend, &fitting, clock.as_deref())?;
    }
    Ok(())
}

/// Prints the median of as many steps as are asked for, after as many before.
fn measure(
    args: &Args,
    backend: &Cuda,
    fitting: &Fitting,
    clock: Option<&LaunchClock>,
) -> Result<()> {
    let start = Instant::now();
    let mut bench = Bench::new(backend, args, fitting)?;
    let filled = start.elapsed().as_secs_f64();
    for _ in 0..args.steps {
        bench.step()?;
    }
    let before = bench.counters();
    let mut times = Vec::new();
    for _ in 0..args.steps {
        let start = Instant::now();
        bench.step()?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let mut line = report(args, &bench, times[times.len() / 2], &before);
    line["hot_rows"] = fitting.policy.hot_rows.into();
    line["fill_seconds"] = ((filled * 10.0).round() / 10.0).into();
    if let Some(clock) = clock {
        line["launches"] = launches::measure(&mut bench, clock)?;
    }
    if args.blocks {
        line["blocks"] = blocks(&mut bench)?;
    }
    println!("{line}");
    Ok(())
}

/// What the blocks of attention do in one step: microseconds of a block, the part of them under the
/// scan of other blocks, and microseconds of a launch in which no block scans.
fn blocks(bench: &mut Bench<'_>) -> Result<serde_json::Value> {
    let times = block_times(&bench.traced_step()?);
    let layers = bench.config.n_layers as f64;
    let stage = |stage: &Stage| {
        let us = 1e6 * stage.seconds / stage.blocks as f64;
        let figures = json!({"us": us, "under_scan": stage.under_scan / stage.seconds});
        (stage.range.to_string(), figures)
    };
    let mut figures: serde_json::Map<_, _> = times.stages.iter().map(stage).collect();
    let alone = 1e6 * (times.seconds - times.scanning) / layers;
    figures.insert("no_scan_us".into(), alone.into());
    Ok(figures.into())
}

/// One JSON object: times in microseconds, the rate at which K was read.
fn report(args: &Args, bench: &Bench<'_>, seconds: f64, before: &KvCounters) -> serde_json::Value {
    let (after, batch) = (bench.counters(), bench.caches.len());
    let layers = bench.config.n_layers;
    let key_bytes = 2 * batch * args.length * bench.config.kv_dim() * layers;
    let needed = (after.rows_needed - before.rows_needed).max(1);
    let fetched = after.rows_fetched - before.rows_fetched;
    let per_step = (after.bytes_fetched - before.bytes_fetched) as f64 / args.steps as f64;
    let bytes: [usize; 3] = bench.caches.iter().fold([0; 3], |sum, cache| {
        let bytes = cache.bytes();
        [0, 1, 2].map(|i| sum[i] + bytes[i])
    });
    let mut line = json!({
        "engine": "kcache",
        "kv": format!("{:?}", args.kv).to_lowercase(),
        "geometry": args.geometry.name(),
        "layers": layers,
        "batch": batch,
        "length": args.length,
        "miss_rate": fetched as f64 / needed as f64,
        "pcie_bytes_per_step": per_step,
        "gib": bytes.map(|b| (b as f64 / (1u64 << 30) as f64 * 10.0).round() / 10.0),
    });
    let microseconds = (seconds * 1e7).round() / 10.0;
    if args.attention {
        line["attention_us"] = (microseconds / layers as f64).into();
        line["k_tb_per_s"] = (key_bytes as f64 / seconds / 1e12).into();
    } else {
        line["step_us"] = microseconds.into();
        line["tokens_per_second"] = (batch as f64 / seconds).into();
    }
    line
}
