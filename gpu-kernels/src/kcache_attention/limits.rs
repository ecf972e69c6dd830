//! Between which keys the heaviest positions lie, by the largest key of each run.

use cuda_std::{Shared, U32x4, thread};

use super::THREADS;
use super::select::{AT_ONCE, Blocks, RUNS, Range, Selection};
use crate::KV_BLOCK;
use crate::reduce::block_largest;
use crate::top_n::{Keys, Limits};

impl Selection {
    /// Between which keys the `chosen` heaviest positions lie. At least so many reach the lower one,
    /// and not many more runs; it is 0 where there are too few runs to tell.
    #[inline(always)]
    pub fn limits(&self, range: Range, blocks: Blocks, chosen: u32) -> Limits {
        // Only of whole blocks is it known that the largest of a run is in the range.
        let first = range.first.div_ceil(KV_BLOCK);
        let whole = (first, (range.end / KV_BLOCK).max(first));
        let units = if blocks.kept {
            self.keep_runs(blocks, whole)
        } else {
            self.keep_units(whole)
        };
        let low = if units.count < chosen {
            0
        } else {
            let keys = Keys {
                first: units.first,
                end: units.first + units.count,
                limits: units.limits,
                key: |i| self.shared.read(i),
            };
            keys.threshold(chosen, chosen / 4, self.scratch).0
        };
        Limits {
            low,
            high: units.largest,
        }
    }

    /// Keeps the largest key of each run of the blocks.
    #[inline(always)]
    fn keep_runs(&self, blocks: Blocks, (first, end): (u32, u32)) -> Units {
        let mut seen = Seen::default();
        let mut block = blocks.first + thread::thread_idx_x();
        while block < blocks.end {
            let at = |i: usize| block + i as u32 * THREADS;
            let keys: [[u32; RUNS as usize]; AT_ONCE] = core::array::from_fn(|i| {
                let block = at(i).min(blocks.end - 1);
                self.values.keys_of_four_runs(block)
            });
            for (i, &keys) in keys.iter().enumerate() {
                if at(i) < blocks.end {
                    let place = at(i) - blocks.first;
                    self.kept_runs().write(place, U32x4(keys));
                    seen.add(keys, first <= at(i) && at(i) < end);
                }
            }
            block += AT_ONCE as u32 * THREADS;
        }
        Units {
            first: (first - blocks.first) * RUNS,
            count: (end - first) * RUNS,
            ..seen.of_block(self.sums())
        }
    }

    /// Keeps the largest key of each whole block from `first` on, or of several where they are too
    /// many.
    #[inline(always)]
    fn keep_units(&self, (first, end): (u32, u32)) -> Units {
        let room = 2 * self.capacity;
        let per_unit = (end - first).div_ceil(room.max(1)).max(1);
        let count = (end - first).div_ceil(per_unit).min(room);
        let mut seen = Seen::default();
        let mut unit = thread::thread_idx_x();
        while unit < count {
            let at = |i: usize| unit + i as u32 * THREADS;
            let mut keys = [0; AT_ONCE];
            for block in 0..per_unit {
                let within: [[u32; RUNS as usize]; AT_ONCE] = core::array::from_fn(|i| {
                    let block = first + at(i) * per_unit + block;
                    self.values.keys_of_four_runs(block.min(end - 1))
                });
                for (key, &[a, b, c, d]) in keys.iter_mut().zip(&within) {
                    *key = (*key).max(a.max(b).max(c.max(d)));
                }
            }
            for (i, &key) in keys.iter().enumerate() {
                if at(i) < count {
                    self.shared.write(at(i), key);
                    seen.add([key; RUNS as usize], true);
                }
            }
            unit += AT_ONCE as u32 * THREADS;
        }
        Units {
            first: 0,
            count,
            // Of blocks that are partly in the range nothing was seen.
            largest: u32::MAX,
            ..seen.of_block(self.sums())
        }
    }
}

/// Keys in shared memory, each the largest of a part of the range.
struct Units {
    /// The first of them that counts.
    first: u32,
    /// How many count.
    count: u32,
    /// Between which keys those lie that count.
    limits: Limits,
    /// No key of the range is larger.
    largest: u32,
}

/// What a thread has seen of keys.
#[derive(Clone, Copy, Default)]
struct Seen {
    /// Of those that count the least one, its bits turned round, and the largest.
    limits: [u32; 2],
    largest: u32,
}

impl Seen {
    #[inline(always)]
    fn add(&mut self, keys: [u32; RUNS as usize], counts: bool) {
        for &key in &keys {
            self.largest = self.largest.max(key);
            if counts {
                let [least, most] = self.limits;
                self.limits = [least.max(!key), most.max(key)];
            }
        }
    }

    /// What the block has seen together, of keys that the caller knows.
    #[inline(always)]
    fn of_block(self, scratch: Shared<u32>) -> Units {
        let [least, most] = self.limits;
        let [least, most, largest] = block_largest([least, most, self.largest], scratch);
        Units {
            first: 0,
            count: 0,
            limits: Limits {
                low: !least,
                high: most,
            },
            largest,
        }
    }
}
