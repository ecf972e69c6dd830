//! What `run profile` found, for people and as data.

use std::fmt::Write as _;

use kcache::Context;
use kcache::backend::Backend;
use kcache::trace::{Range, Total};
use serde::Serialize;

use crate::json::Setting;

/// Width of the names: that of a phase and a range of a device in it.
const NAME: usize = 26;

/// The JSON object.
#[derive(Serialize)]
pub struct Report<'a> {
    ranges: &'a [Total],
    #[serde(flatten)]
    setting: Setting<'a>,
}

impl<'a> Report<'a> {
    /// What `context` spent on what.
    pub fn new<B: Backend>(ranges: &'a [Total], context: &'a Context<B>) -> Self {
        Self {
            ranges,
            setting: Setting::new(context),
        }
    }
}

/// A line for each range: the phase first, what lies inside it indented; then
/// the device's queues.
pub fn table(totals: &[Total]) -> String {
    let mut table = format!(
        "{:<NAME$} {:>7} {:>11} {:>11} {:>9}\n",
        "range", "calls", "total ms", "mean ms", "of phase"
    );
    let mut stream = None;
    for total in totals {
        if total.stream != stream {
            stream = total.stream;
            let _ = writeln!(
                table,
                "on the device, stream: {}",
                stream.unwrap_or_default()
            );
        }
        let name = match total.stream {
            None => format!("{:1$}{2}", "", 2 * total.range.depth(), total.range),
            Some(_) => format!("  {}: {}", total.phase, total.range),
        };
        let share = whole(totals, total.phase).map(|phase| 100.0 * total.seconds / phase);
        let _ = writeln!(
            table,
            "{name:<NAME$} {:>7} {:>11.3} {:>11.4} {:>8.1}%",
            total.calls,
            1e3 * total.seconds,
            1e3 * total.seconds / total.calls as f64,
            share.unwrap_or(0.0)
        );
    }
    table
}

/// Seconds that the processor spent in a phase.
fn whole(totals: &[Total], phase: Range) -> Option<f64> {
    let itself = |total: &&Total| total.range == phase && total.stream.is_none();
    totals.iter().find(itself).map(|total| total.seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_indents_what_lies_inside_and_names_the_streams() {
        let total = |range, stream, calls, seconds| Total {
            phase: Range::DecodeStep,
            range,
            stream,
            calls,
            seconds,
        };
        let totals = [
            total(Range::DecodeStep, None, 2, 0.010),
            total(Range::Score, None, 4, 0.005),
            total(Range::Push, Some("copies"), 2, 0.001),
        ];
        let expected = "\
range                        calls    total ms     mean ms  of phase
decode step                      2      10.000      5.0000    100.0%
      score                      4       5.000      1.2500     50.0%
on the device, stream: copies
  decode step: push              2       1.000      0.5000     10.0%
";
        assert_eq!(table(&totals), expected);
    }
}
