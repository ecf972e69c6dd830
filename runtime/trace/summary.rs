//! Spans added up.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::{Range, Span, Track};

/// All spans of one range inside one outermost range.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Total {
    /// The outermost range: load, prefill or decode step.
    pub phase: Range,
    /// The range; the phase itself, or one inside it.
    pub range: Range,
    /// The device's queue that it ran on; `None` for the processor.
    pub stream: Option<&'static str>,
    /// How often it ran.
    pub calls: usize,
    /// Seconds, over all threads: ranges that run side by side count each.
    pub seconds: f64,
}

/// Adds up `spans` by phase, range and device queue, outer ranges first. Spans of
/// a device belong to the phase of the processor that queued them. Those of
/// multiprocessors are parts of others: [`block_times`](super::block_times) adds them up.
///
/// Device work that no phase contains, since its queue runs behind, belongs to
/// the last phase that began before it.
pub fn totals(spans: &[Span]) -> Vec<Total> {
    let mut phases: Vec<(Duration, Range)> = spans
        .iter()
        .filter(|span| span.range.depth() == 0 && matches!(span.track, Track::Thread(_)))
        .map(|span| (span.start, span.range))
        .collect();
    phases.sort_unstable();
    let mut sums: BTreeMap<_, (usize, Duration)> = BTreeMap::new();
    for span in spans {
        let begun = phases.partition_point(|(start, _)| *start <= span.start);
        let Some((_, phase)) = begun.checked_sub(1).and_then(|last| phases.get(last)) else {
            continue;
        };
        let stream = match span.track {
            Track::Stream(name) => Some(name),
            Track::Thread(_) => None,
            Track::Multiprocessor { .. } => continue,
        };
        let sum = sums.entry((stream, *phase, span.range)).or_default();
        sum.0 += 1;
        sum.1 += span.duration;
    }
    let total = |((stream, phase, range), (calls, time)): (_, (usize, Duration))| Total {
        phase,
        range,
        stream,
        calls,
        seconds: time.as_secs_f64(),
    };
    sums.into_iter().map(total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(range: Range, track: Track, start: u64, duration: u64) -> Span {
        Span {
            range,
            layer: None,
            track,
            start: Duration::from_millis(start),
            duration: Duration::from_millis(duration),
        }
    }

    #[test]
    fn ranges_are_added_up_within_their_phase() {
        let [main, worker] = [0, 1].map(Track::Thread);
        let spans = [
            span(Range::Layer, main, 1, 4),
            span(Range::Prefill, main, 0, 10),
            span(Range::Score, worker, 21, 2),
            span(Range::Score, main, 22, 3),
            span(Range::Layer, main, 21, 6),
            span(Range::DecodeStep, main, 20, 8),
            span(Range::Push, Track::Stream("copies"), 11, 9),
        ];
        let found: Vec<_> = totals(&spans)
            .iter()
            .map(|t| (t.phase, t.range, t.calls, (t.seconds * 1e3).round()))
            .collect();
        let expected = [
            (Range::Prefill, Range::Prefill, 1, 10.0),
            (Range::Prefill, Range::Layer, 1, 4.0),
            (Range::DecodeStep, Range::DecodeStep, 1, 8.0),
            (Range::DecodeStep, Range::Layer, 1, 6.0),
            (Range::DecodeStep, Range::Score, 2, 5.0),
            (Range::Prefill, Range::Push, 1, 9.0),
        ];
        assert_eq!(found, expected);
    }
}
