//! What the blocks of traced kernels did, from the marks that they left.

use gpu_kernels::kcache_attention::{MARKS, Mark};

use crate::driver::{DeviceBuffer, DeviceSliceMut, Result, Stream};
use crate::trace::Range;

/// Words taken from the device at a time.
const CHUNK: usize = 1 << 20;

/// What lies between one mark and the next.
const STAGES: [(Mark, Range, Mark); 4] = [
    (Mark::Begun, Range::Score, Mark::Scanned),
    (Mark::Scanned, Range::Select, Mark::Selected),
    (Mark::Selected, Range::HotRows, Mark::LookedUp),
    (Mark::LookedUp, Range::Gather, Mark::Done),
];

/// Room for the marks of many launches.
#[derive(Default)]
pub(super) struct BlockMarks {
    chunks: Vec<DeviceBuffer<u64>>,
    /// Words of the last chunk that are given away.
    used: usize,
    launches: Vec<Room>,
}

/// Where the marks of a launch are.
struct Room {
    chunk: usize,
    first: usize,
    words: usize,
}

/// One block: times in nanoseconds of the device's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub multiprocessor: u32,
    pub begun: u64,
    pub ended: u64,
    /// What it did, from when to when.
    pub stages: Vec<(Range, u64, u64)>,
}

impl BlockMarks {
    /// `words` zeros for the next launch on `stream`.
    pub fn room(&mut self, words: usize, stream: &Stream) -> Result<DeviceSliceMut<'_, u64>> {
        let left = self
            .chunks
            .last()
            .map_or(0, |chunk| chunk.len() - self.used);
        if left < words {
            let chunk = DeviceBuffer::zeroed(stream, "marks of blocks", words.max(CHUNK))?;
            self.chunks.push(chunk);
            self.used = 0;
        }
        let first = self.used;
        self.used += words;
        let chunk = self.chunks.len().saturating_sub(1);
        self.launches.push(Room {
            chunk,
            first,
            words,
        });
        self.chunks[chunk].slice_mut(first..first + words)
    }

    /// The blocks of each launch, in order; waits for them.
    pub fn read(&self, stream: &Stream) -> Result<Vec<Vec<Block>>> {
        let chunks = self.chunks.iter().map(|chunk| chunk.to_host(stream));
        let chunks = chunks.collect::<Result<Vec<_>>>()?;
        let blocks = |room: &Room| {
            let words = &chunks[room.chunk][room.first..room.first + room.words];
            words.chunks_exact(MARKS).filter_map(Block::of).collect()
        };
        Ok(self.launches.iter().map(blocks).collect())
    }
}

impl Block {
    /// The block that left these words, unless it had nothing to do.
    fn of(words: &[u64]) -> Option<Self> {
        let time = |mark: Mark| words.get(mark as usize).copied().filter(|&time| time > 0);
        let stages: Vec<_> = STAGES
            .iter()
            .map_while(|&(from, range, to)| Some((range, time(from)?, time(to)?)))
            .collect();
        let (&(_, begun, _), &(_, _, ended)) = (stages.first()?, stages.last()?);
        Some(Self {
            multiprocessor: words.first().map_or(0, |&number| number as u32),
            begun,
            ended,
            stages,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_tells_the_stages_that_it_came_to() {
        assert_eq!(Block::of(&[0; MARKS]), None);
        let scanned = Block::of(&[7, 100, 250, 0, 0, 0]).unwrap();
        assert_eq!(scanned.stages, [(Range::Score, 100, 250)]);
        assert_eq!((scanned.begun, scanned.ended), (100, 250));
        let last = Block::of(&[7, 100, 250, 300, 310, 400]).unwrap();
        assert_eq!(last.multiprocessor, 7);
        assert_eq!((last.begun, last.ended), (100, 400));
        let ranges: Vec<_> = last.stages.iter().map(|stage| stage.0).collect();
        let all = [Range::Score, Range::Select, Range::HotRows, Range::Gather];
        assert_eq!(ranges, all);
    }
}
