//! What each launch adds to a step, by the clock that notes their turns.

use kcache::Result;
use kcache::driver::{LaunchClock, Turn};
use serde_json::{Value, json};

use crate::step::Bench;

/// Steps that are looked into.
pub const STEPS: usize = 10;

/// Launches of one kernel after one other.
struct Launches {
    kernel: String,
    after: String,
    /// Nanoseconds of each.
    times: Vec<u64>,
}

/// Microseconds from a launch's turn to the next, by kernel and the kernel ahead of it, in the order of
/// a step: of all, and the median of each over the steps. Of the first launch nothing is told, since
/// none is ahead, and of the last, since none follows.
pub fn measure(bench: &mut Bench<'_>, clock: &LaunchClock) -> Result<Value> {
    clock.turns()?;
    let mut all: Vec<Launches> = Vec::new();
    for _ in 0..STEPS {
        bench.step()?;
        for turns in clock.turns()?.windows(3) {
            if let [ahead, turn, next] = turns {
                add(&mut all, ahead, turn, next.at.saturating_sub(turn.at));
            }
        }
    }
    Ok(all.iter().map(Launches::report).collect())
}

fn add(all: &mut Vec<Launches>, ahead: &Turn, turn: &Turn, time: u64) {
    let same = |of: &&mut Launches| of.kernel == turn.kernel && of.after == ahead.kernel;
    match all.iter_mut().find(same) {
        Some(launches) => launches.times.push(time),
        None => all.push(Launches {
            kernel: turn.kernel.clone(),
            after: ahead.kernel.clone(),
            times: vec![time],
        }),
    }
}

impl Launches {
    fn report(&self) -> Value {
        let each_step = self.times.len() / STEPS;
        let each = |launch: usize| {
            let times = self.times.iter().skip(launch).step_by(each_step);
            quantiles(times.copied().collect(), [0.5])[0]
        };
        let mean = self.times.iter().sum::<u64>() as f64 / self.times.len() as f64;
        let [p10, median, p90] = quantiles(self.times.clone(), [0.1, 0.5, 0.9]);
        json!({
            "kernel": self.kernel,
            "after": self.after,
            "us": {"mean": microseconds(mean), "p10": p10, "median": median, "p90": p90},
            "medians_us": (0..each_step).map(each).collect::<Vec<f64>>(),
        })
    }
}

/// Microseconds that each part of `times`, of which there is one at least, is below.
fn quantiles<const N: usize>(mut times: Vec<u64>, parts: [f64; N]) -> [f64; N] {
    times.sort_unstable();
    let last = (times.len() - 1) as f64;
    parts.map(|part| microseconds(times[(part * last) as usize] as f64))
}

/// With two digits, of nanoseconds.
fn microseconds(nanoseconds: f64) -> f64 {
    (nanoseconds / 10.0).round() / 100.0
}
