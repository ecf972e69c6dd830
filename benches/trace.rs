//! What a named range costs.
//!
//! `cargo bench --bench trace`; with `NVTX_INJECTION64_PATH` set also with the
//! profiler that it names.
//!
//! Times are the best of many runs, for a range of a layer and one inside it.
#![allow(missing_docs, clippy::print_stdout, clippy::expect_used)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use kcache::trace::{self, Range, Recording};

/// Ranges of a run.
const RANGES: u32 = 20_000;
const RUNS: usize = 200;

fn main() {
    let listener = if trace::nvtx::listens() {
        "a profiler listens"
    } else {
        "nobody listens"
    };
    row(listener, || {});
    let recording = Recording::start().expect("the first");
    row("a recording runs", || {
        recording.take();
    });
}

/// Prints the time of a range; `after` follows each run and is not timed.
fn row(name: &str, after: impl Fn()) {
    let mut best = Duration::MAX;
    for _ in 0..RUNS {
        let start = Instant::now();
        for layer in 0..RANGES as usize / 2 {
            let _layer = trace::layer(black_box(layer));
            let _range = trace::range(black_box(Range::Mlp));
        }
        best = best.min(start.elapsed());
        after();
    }
    let each = best.as_secs_f64() * 1e9 / f64::from(RANGES);
    println!("{name:<20} {each:8.2} ns a range");
}
