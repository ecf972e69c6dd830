//! Blocks as spans of a timeline: the device's clock against that of its events, and a row for each.

use std::collections::HashMap;
use std::time::Duration;

use super::block_marks::Block;
use crate::trace::{Span, Track};

/// The blocks of a launch, and what is known of it from the outside.
pub(super) struct Launch {
    pub layer: Option<usize>,
    /// Nanoseconds from the zero of events to the event before it.
    pub start: i64,
    /// The same of the event after it.
    pub end: i64,
    pub blocks: Vec<Block>,
}

/// What the device's clock shows at the zero of events, so that every launch lies between its own
/// events: the middle of what they allow.
fn zero(launches: &[Launch]) -> Option<i64> {
    let first = |launch: &Launch| {
        let begun = launch.blocks.iter().map(|block| block.begun).min()?;
        Some(begun as i64 - launch.start)
    };
    let last = |launch: &Launch| {
        let ended = launch.blocks.iter().map(|block| block.ended).max()?;
        Some(ended as i64 - launch.end)
    };
    let latest = launches.iter().filter_map(first).min()?;
    let earliest = launches.iter().filter_map(last).max()?;
    Some(earliest + (latest - earliest) / 2)
}

/// The spans of all blocks; events count from `offset` after the start of the recording.
pub(super) fn spans(launches: &[Launch], offset: Duration) -> Vec<Span> {
    let Some(zero) = zero(launches) else {
        return Vec::new();
    };
    let time = |clock: u64| Duration::from_nanos((clock as i64 - zero).max(0) as u64);
    let blocks = launches
        .iter()
        .flat_map(|launch| launch.blocks.iter().map(|block| (launch.layer, block)));
    let mut blocks: Vec<_> = blocks.collect();
    blocks.sort_by_key(|(_, block)| block.begun);
    let mut slots = Slots::default();
    let mut spans = Vec::new();
    for (layer, block) in blocks {
        let track = slots.take(block);
        spans.extend(block.stages.iter().map(|&(range, from, to)| Span {
            range,
            layer,
            track,
            start: offset + time(from),
            duration: time(to).saturating_sub(time(from)),
        }));
    }
    spans
}

/// When the places of each multiprocessor become free.
#[derive(Default)]
struct Slots(HashMap<u32, Vec<u64>>);

impl Slots {
    /// The first free place for a block that begins no earlier than those before it.
    fn take(&mut self, block: &Block) -> Track {
        let free = self.0.entry(block.multiprocessor).or_default();
        let slot = free.iter().position(|&until| until <= block.begun);
        let slot = slot.unwrap_or(free.len());
        match free.get_mut(slot) {
            Some(until) => *until = block.ended,
            None => free.push(block.ended),
        }
        Track::Multiprocessor {
            number: block.multiprocessor,
            slot: slot as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Range;

    fn block(multiprocessor: u32, begun: u64, ended: u64) -> Block {
        Block {
            multiprocessor,
            begun,
            ended,
            stages: vec![(Range::Score, begun, ended)],
        }
    }

    #[test]
    fn blocks_side_by_side_have_rows_of_their_own() {
        let blocks = vec![
            block(3, 1000, 1500),
            block(3, 1200, 1300),
            block(3, 1300, 1400),
            block(4, 1200, 1600),
        ];
        let launch = Launch {
            layer: Some(2),
            start: 0,
            end: 600,
            blocks,
        };
        let spans = spans(&[launch], Duration::from_nanos(50));
        let rows: Vec<_> = spans
            .iter()
            .map(|s| (s.track, s.start.as_nanos()))
            .collect();
        let row = |number, slot| Track::Multiprocessor { number, slot };
        let expected = [
            (row(3, 0), 50),
            (row(3, 1), 250),
            (row(4, 0), 250),
            (row(3, 1), 350),
        ];
        assert_eq!(rows, expected);
        assert!(spans.iter().all(|span| span.layer == Some(2)));
    }

    #[test]
    fn the_clock_fits_between_all_events() {
        // The first launch allows 9900 to 10000 as zero, the second 9940 to 9960.
        let launch = |start, end, blocks| Launch {
            layer: None,
            start,
            end,
            blocks,
        };
        let launches = [
            launch(100, 300, vec![block(0, 10_100, 10_200)]),
            launch(
                500,
                680,
                vec![block(0, 10_460, 10_500), block(1, 10_470, 10_620)],
            ),
        ];
        assert_eq!(zero(&launches), Some(9950));
        assert_eq!(zero(&[]), None);
    }
}
