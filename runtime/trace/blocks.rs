//! What the blocks of kernels did side by side.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::{Range, Span, Track};

/// All spans of one range on the multiprocessors of a device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stage {
    /// What the blocks did.
    pub range: Range,
    /// How many blocks did it.
    pub blocks: usize,
    /// Seconds, over all blocks.
    pub seconds: f64,
    /// Seconds of these during which some block of the device scored keys.
    pub under_scan: f64,
}

/// The stages of blocks that say what they do.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BlockTimes {
    /// In the order in which a block comes to them.
    pub stages: Vec<Stage>,
    /// Seconds during which any block ran.
    pub seconds: f64,
    /// Seconds of these during which any block scored keys.
    pub scanning: f64,
}

/// A stretch of time.
type Interval = (Duration, Duration);

/// Adds up the spans of multiprocessors; other spans are passed over.
pub fn block_times(spans: &[Span]) -> BlockTimes {
    let mut by_range: BTreeMap<Range, Vec<Interval>> = BTreeMap::new();
    for span in spans {
        if matches!(span.track, Track::Multiprocessor { .. }) {
            let interval = (span.start, span.start + span.duration);
            by_range.entry(span.range).or_default().push(interval);
        }
    }
    let all = union(by_range.values().flatten().copied().collect());
    let scans = by_range.get(&Range::Score).cloned();
    let scans = union(scans.unwrap_or_default());
    let stage = |(range, intervals): (Range, Vec<Interval>)| Stage {
        range,
        blocks: intervals.len(),
        seconds: length(&intervals),
        under_scan: intervals.iter().map(|&i| covered(i, &scans)).sum(),
    };
    BlockTimes {
        seconds: length(&all),
        scanning: length(&scans),
        stages: by_range.into_iter().map(stage).collect(),
    }
}

fn length(intervals: &[Interval]) -> f64 {
    let lengths = intervals.iter().map(|(start, end)| *end - *start);
    lengths.sum::<Duration>().as_secs_f64()
}

/// The same time as stretches that do not touch, in order.
fn union(mut intervals: Vec<Interval>) -> Vec<Interval> {
    intervals.sort_unstable();
    let mut union: Vec<Interval> = Vec::new();
    for (start, end) in intervals {
        match union.last_mut() {
            Some((_, until)) if start <= *until => *until = end.max(*until),
            _ => union.push((start, end)),
        }
    }
    union
}

/// Seconds of an interval that lie in `union`.
fn covered((start, end): Interval, union: &[Interval]) -> f64 {
    let first = union.partition_point(|(_, until)| *until <= start);
    let overlapping = union[first..].iter().take_while(|(from, _)| *from < end);
    let inside = overlapping.map(|&(from, until)| until.min(end) - from.max(start));
    inside.sum::<Duration>().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(range: Range, slot: u32, start: u64, end: u64) -> Span {
        Span {
            range,
            layer: None,
            track: Track::Multiprocessor { number: 0, slot },
            start: Duration::from_secs(start),
            duration: Duration::from_secs(end - start),
        }
    }

    #[test]
    fn a_gather_is_under_the_scans_of_any_block() {
        let on_the_host = Span {
            track: Track::Thread(0),
            ..span(Range::Gather, 0, 0, 99)
        };
        let spans = [
            span(Range::Score, 0, 0, 4),
            span(Range::Score, 1, 3, 6),
            span(Range::Gather, 0, 4, 8),
            span(Range::Score, 2, 7, 9),
            span(Range::Gather, 1, 8, 12),
            on_the_host,
        ];
        let times = block_times(&spans);
        assert_eq!((times.seconds, times.scanning), (12.0, 8.0));
        let stage = |range, blocks, seconds, under_scan| Stage {
            range,
            blocks,
            seconds,
            under_scan,
        };
        let expected = [
            stage(Range::Score, 3, 9.0, 9.0),
            stage(Range::Gather, 2, 8.0, 4.0),
        ];
        assert_eq!(times.stages, expected);
        assert_eq!(block_times(&[]), BlockTimes::default());
    }
}
