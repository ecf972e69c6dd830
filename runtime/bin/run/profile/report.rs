//! What `run profile` found, for people and as data.

use std::fmt::Write as _;

use kcache::Context;
use kcache::backend::Backend;
use kcache::trace::{BlockTimes, Range, Total};
use serde::Serialize;

use crate::json::Setting;

/// Width of the names: that of a phase and a range of a device in it.
const NAME: usize = 26;

/// The JSON object.
#[derive(Serialize)]
pub struct Report<'a> {
    ranges: &'a [Total],
    /// Inside kernels, of a timeline on a GPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    blocks: Option<&'a BlockTimes>,
    #[serde(flatten)]
    setting: Setting<'a>,
}

impl<'a> Report<'a> {
    /// What `context` spent on what.
    pub fn new<B: Backend>(
        ranges: &'a [Total],
        blocks: &'a BlockTimes,
        context: &'a Context<B>,
    ) -> Self {
        Self {
            ranges,
            blocks: Some(blocks).filter(|blocks| !blocks.stages.is_empty()),
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

/// A line for each stage of blocks, with the share of its time in which other blocks scan, and one for what that leaves;
/// nothing without blocks.
pub fn blocks_table(times: &BlockTimes) -> String {
    if times.stages.is_empty() {
        return String::new();
    }
    let mut table = format!(
        "{:<NAME$} {:>7} {:>11} {:>11} {:>14}\n",
        "blocks of attention", "blocks", "total ms", "mean ms", "under the scan"
    );
    for stage in &times.stages {
        let _ = writeln!(
            table,
            "  {:<24} {:>7} {:>11.3} {:>11.4} {:>13.1}%",
            stage.range,
            stage.blocks,
            1e3 * stage.seconds,
            1e3 * stage.seconds / stage.blocks as f64,
            100.0 * stage.under_scan / stage.seconds.max(f64::MIN_POSITIVE)
        );
    }
    let after = times.seconds - times.scanning;
    let share = 100.0 * after / times.seconds.max(f64::MIN_POSITIVE);
    let (all, after) = (1e3 * times.seconds, 1e3 * after);
    let _ = writeln!(
        table,
        "no block scans for {after:.3} ms of {all:.3} ms ({share:.1}%)"
    );
    table
}

/// Seconds that the processor spent in a phase.
fn whole(totals: &[Total], phase: Range) -> Option<f64> {
    let itself = |total: &&Total| total.range == phase && total.stream.is_none();
    totals.iter().find(itself).map(|total| total.seconds)
}

#[cfg(test)]
mod tests {
    use kcache::trace::Stage;

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

    #[test]
    fn a_table_of_blocks_tells_what_lies_under_the_scan() {
        let stage = |range, blocks, seconds, under_scan| Stage {
            range,
            blocks,
            seconds,
            under_scan,
        };
        let times = BlockTimes {
            stages: vec![
                stage(Range::Score, 512, 0.016, 0.016),
                stage(Range::Gather, 32, 0.004, 0.003),
            ],
            seconds: 0.010,
            scanning: 0.009,
        };
        let expected = "\
blocks of attention         blocks    total ms     mean ms under the scan
  score                        512      16.000      0.0312         100.0%
  gather                        32       4.000      0.1250          75.0%
no block scans for 1.000 ms of 10.000 ms (10.0%)
";
        assert_eq!(blocks_table(&times), expected);
        assert_eq!(blocks_table(&BlockTimes::default()), "");
    }
}
