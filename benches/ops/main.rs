//! Every operation of a model on a GPU: its time, beside the device's roof and another library.
//!
//! ```text
//! ops --list | python3 benches/peers/torch_ops.py > peer.jsonl
//! ops --peer peer.jsonl --json ops.jsonl > ops.md
//! ops --image sm_90a --tuning ops.jsonl > runtime/backend/cuda/tuning.json
//! ```
//!
//! Each kernel is checked before it is timed. Times are medians of replays of a graph, whose
//! launches rotate over operands that no cache holds together.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod attention;
mod device;
mod gated;
mod joint;
mod products;
mod report;
mod rows;
mod tuning;
mod work;

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

use clap::Parser;
use kcache::backend::cuda::Tuning;
use kcache::driver::{DeviceChoice, Placement};

use attention::Prompt;
use device::Bench;
use report::{Measurement, Peer, Roof, TABLE_HEAD};
use work::{Case, Work, cases};

#[derive(Debug, Parser)]
struct Args {
    /// Only what has this in its name or its sizes, such as `llama2-7b` or `product 1x`.
    #[arg(long, default_value = "")]
    only: String,
    /// Print the operations as JSON lines, for a peer, and stop.
    #[arg(long)]
    list: bool,
    /// A peer's times: JSON lines with `id` and `us`.
    #[arg(long)]
    peer: Option<PathBuf>,
    /// Also write JSON lines there.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Print the table of kernels that follows from such JSON lines of the given image, and stop.
    #[arg(long, requires = "image")]
    tuning: Option<PathBuf>,
    /// The kernels' image: sm_80 or sm_90a; the best that the device takes if not given.
    #[arg(long)]
    image: Option<String>,
    /// What cargo passes to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let wanted =
        |case: &Case| case.name.contains(&args.only) || case.work.id().contains(&args.only);
    let cases: Vec<Case> = cases().into_iter().filter(wanted).collect();
    if args.list {
        cases
            .iter()
            .for_each(|case| println!("{}", case.work.to_json()));
        return Ok(());
    }
    if let (Some(path), Some(image)) = (&args.tuning, &args.image) {
        let lines = fs::read_to_string(path)?;
        let table = tuning::updated(Tuning::embedded()?, image, &lines)?;
        print!("{}", tuning::to_text(&table));
        return Ok(());
    }
    let Placement::Cuda(device) = DeviceChoice::Auto.place()? else {
        println!("nothing to measure: no GPU");
        return Ok(());
    };
    let peer = match &args.peer {
        Some(path) => Peer::read(&fs::read_to_string(path)?),
        None => Peer::default(),
    };
    println!("{device}");
    let mut bench = Bench::new(device, args.image.as_deref())?;
    let bytes_per_s = rows::read_bytes_per_s(&mut bench)?;
    let measurements = measure(&mut bench, &cases)?;
    let own = measurements.iter().map(Measurement::flops_per_s);
    let own = own.fold(1.0, f64::max);
    let flops_per_s = peer.flops_per_s(&cases).map_or(own, |peer| peer.max(own));
    let roof = Roof {
        bytes_per_s,
        flops_per_s,
    };
    println!(
        "image {}; reads {:.0} GB/s; the largest product {:.0} TFLOP/s\n\n{TABLE_HEAD}",
        bench.image(),
        bytes_per_s / 1e9,
        flops_per_s / 1e12,
    );
    let rows = measurements.iter().map(|m| m.to_row(&roof, &peer));
    rows.for_each(|row| println!("{row}"));
    if let Some(path) = &args.json {
        let mut file = fs::File::create(path)?;
        for measurement in &measurements {
            writeln!(file, "{}", measurement.to_json(&roof, &peer))?;
        }
    }
    Ok(())
}

/// Every kernel for every operation, the fastest first. What several models have in common is
/// measured once.
fn measure(bench: &mut Bench, cases: &[Case]) -> kcache::driver::Result<Vec<Measurement>> {
    let mut known: HashMap<String, Vec<(String, f64)>> = HashMap::new();
    let mut all = Vec::new();
    for case in cases {
        let id = case.work.id();
        let times = match known.get(&id) {
            Some(times) => times.clone(),
            None => {
                eprintln!("{}: {id}", case.name);
                let mut times = kernels_of(bench, case.work)?;
                times.sort_by(|(_, a), (_, b)| a.total_cmp(b));
                known.insert(id, times.clone());
                times
            }
        };
        all.extend(times.into_iter().map(|(kernel, us)| Measurement {
            case: case.clone(),
            kernel,
            us,
        }));
    }
    Ok(all)
}

/// Kernel and microseconds of each way to do some work.
fn kernels_of(bench: &mut Bench, work: Work) -> kcache::driver::Result<Vec<(String, f64)>> {
    Ok(match work {
        Work::Product { m, n, k } => products::measure(bench, [m, n, k])?,
        Work::JointProduct { m, n, n_kv, k } => joint::measure(bench, [m, n, n_kv, k])?,
        Work::GatedProduct { m, n, k } => gated::measure(bench, [m, n, k])?,
        Work::Attention {
            rows,
            q_heads,
            kv_heads,
            dim,
        } => {
            let prompt = Prompt {
                rows,
                q_heads,
                kv_heads,
                dim,
            };
            attention::measure(bench, prompt)?
        }
        Work::RmsNorm { rows, width } => vec![rows::rms_norm(bench, rows, width)?],
        Work::Swiglu { rows, width } => vec![rows::gate(bench, rows, width)?],
        Work::Add { rows, width } => vec![rows::add(bench, rows, width)?],
    })
}
