//! Spans as a file that Perfetto and Chrome's tracing page show.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use serde_json::{Value, json};

use super::{Span, Track};

/// The process that threads are shown under.
const HOST: u32 = 1;
/// The process that a device's queues are shown under.
const DEVICE: u32 = 2;
/// The process that a device's multiprocessors are shown under.
const MULTIPROCESSORS: u32 = 3;

/// Writes `spans` in Chrome's trace event format (JSON, times in microseconds):
/// one row for each thread, for each queue of the device, and for each place that blocks have on its
/// multiprocessors.
///
/// # Errors
/// Those of `out`.
pub fn write_chrome_trace(spans: &[Span], out: &mut dyn Write) -> io::Result<()> {
    let tracks: BTreeSet<Track> = spans.iter().map(|span| span.track).collect();
    let rows: BTreeMap<Track, usize> = tracks.into_iter().zip(0..).collect();
    let mut events = names(&rows);
    events.extend(spans.iter().map(|span| event(span, &rows)));
    let trace = json!({ "displayTimeUnit": "ms", "traceEvents": events });
    serde_json::to_writer(&mut *out, &trace)?;
    out.write_all(b"\n")
}

/// The process and the row of a track.
fn place(track: Track, rows: &BTreeMap<Track, usize>) -> (u32, usize) {
    let process = match track {
        Track::Thread(_) => HOST,
        Track::Stream(_) => DEVICE,
        Track::Multiprocessor { .. } => MULTIPROCESSORS,
    };
    (process, rows.get(&track).copied().unwrap_or_default())
}

/// How the processes and rows are called.
fn names(rows: &BTreeMap<Track, usize>) -> Vec<Value> {
    let mut events = Vec::new();
    for &track in rows.keys() {
        let at = place(track, rows);
        let (process, row) = match track {
            Track::Thread(number) => ("processor", format!("thread {number}")),
            Track::Stream(stream) => ("device", format!("stream: {stream}")),
            Track::Multiprocessor { number, slot } => {
                ("multiprocessors", format!("SM {number}, slot {slot}"))
            }
        };
        events.push(name("process_name", at, process));
        events.push(name("thread_name", at, &row));
    }
    events
}

fn name(what: &str, (process, row): (u32, usize), name: &str) -> Value {
    json!({
        "name": what,
        "ph": "M",
        "pid": process,
        "tid": row,
        "args": { "name": name },
    })
}

fn event(span: &Span, rows: &BTreeMap<Track, usize>) -> Value {
    let (process, row) = place(span.track, rows);
    let mut event = json!({
        "name": span.range.name(),
        "cat": "kcache",
        "ph": "X",
        "pid": process,
        "tid": row,
        "ts": span.start.as_nanos() as f64 / 1e3,
        "dur": span.duration.as_nanos() as f64 / 1e3,
    });
    if let Some(layer) = span.layer {
        event["args"] = json!({ "layer": layer });
    }
    event
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::trace::Range;

    #[test]
    fn a_trace_has_a_row_for_each_track_and_times_in_microseconds() {
        let span = |range, layer, track, start| Span {
            range,
            layer,
            track,
            start: Duration::from_nanos(start),
            duration: Duration::from_nanos(2500),
        };
        let spans = [
            span(Range::Layer, Some(3), Track::Thread(5), 1000),
            span(Range::Push, None, Track::Stream("copies"), 4000),
        ];
        let mut text = Vec::new();
        write_chrome_trace(&spans, &mut text).unwrap();
        let trace: Value = serde_json::from_slice(&text).unwrap();
        let events = trace["traceEvents"].as_array().unwrap();
        let names = events.iter().filter_map(|e| e["args"]["name"].as_str());
        let names: Vec<_> = names.collect();
        assert_eq!(names, ["processor", "thread 5", "device", "stream: copies"]);
        let [layer, push] = &events[4..] else {
            panic!("{events:?}")
        };
        assert_eq!((&layer["ts"], &layer["dur"]), (&json!(1.0), &json!(2.5)));
        assert_eq!(layer["args"]["layer"], 3);
        assert_eq!((&push["name"], &push["pid"]), (&json!("push"), &json!(2)));
        assert_ne!(layer["tid"], push["tid"]);
    }
}
