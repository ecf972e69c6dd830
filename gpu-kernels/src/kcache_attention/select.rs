//! The heaviest positions of a range, exactly, without a look at most of them.
//!
//! The scan has left the largest score of each run. The `n`-th largest of these is reached by `n`
//! positions at least: only runs that reach it are searched, and what reaches it there is ranked in
//! shared memory. Where that leaves too much for shared memory, all positions of the range are
//! ranked where they lie.

use cuda_std::{GlobalMut, Shared, U32x2, U32x4, thread};

use super::THREADS;
use super::hot_rows::NOT_HOT;
use super::scores::{RUN, Values};
use crate::KV_BLOCK;
use crate::reduce::{MAX_WARPS, block_largest, sum_before};
use crate::top_n::{Keys, Limits, SCRATCH};

/// Bytes of shared memory for ranking up to `candidates` positions.
pub const fn shared_bytes(candidates: u32) -> u32 {
    candidates * 12
}

/// Runs in a block of K, whose maxima one access reads.
const RUNS: u32 = KV_BLOCK / RUN;

/// Accesses that a thread has under way: what selects waits for memory more than for anything else.
const AT_ONCE: usize = 4;

/// The positions that compete: from `first` to before `end`.
#[derive(Clone, Copy)]
pub struct Range {
    /// The first of them.
    pub first: u32,
    /// The one after the last.
    pub end: u32,
}

/// The blocks of K that the range has a part in.
#[derive(Clone, Copy)]
struct Blocks {
    first: u32,
    end: u32,
    /// Whether the largest keys of their runs are in shared memory.
    kept: bool,
}

/// Selects among positions by their values.
pub struct Selection {
    /// What each position is worth.
    pub values: Values,
    /// Room for keys, positions and runs, `capacity` of each, at a multiple of 16 bytes.
    pub shared: Shared<u32>,
    /// How many candidates have room.
    pub capacity: u32,
    /// [`SCRATCH`] words.
    pub scratch: Shared<u32>,
}

impl Selection {
    /// Writes the `chosen` heaviest positions of the range in ascending order, of equal ones the
    /// first. All threads of the block take part; the rows may be read after a barrier.
    #[inline(always)]
    pub fn select(&self, range: Range, chosen: u32, rows: GlobalMut<U32x2>) {
        let put = |rank: u32, position: u32| {
            rows.write(rank as usize, U32x2([position, NOT_HOT]));
        };
        let Range { first, end } = range;
        if chosen == end - first {
            let mut i = thread::thread_idx_x();
            while i < chosen {
                put(i, first + i);
                i += THREADS;
            }
        } else if chosen > 0 {
            let (first_block, end_block) = (first / KV_BLOCK, end.div_ceil(KV_BLOCK));
            let blocks = Blocks {
                first: first_block,
                end: end_block,
                kept: (end_block - first_block) * RUNS <= 2 * self.capacity,
            };
            let limits = self.limits(range, blocks, chosen);
            let runs = self.list_runs(range, blocks, limits.low);
            let candidates = if runs <= self.capacity {
                self.list_candidates(range, limits.low, runs)
            } else {
                u32::MAX
            };
            let listed = chosen <= candidates && candidates <= self.capacity;
            let (first, end) = if listed {
                (0, candidates)
            } else {
                (first, end)
            };
            let key = |i| {
                if listed {
                    self.keys().read(i)
                } else {
                    self.values.key(i)
                }
            };
            let keys = Keys {
                first,
                end,
                limits,
                key,
            };
            keys.take(chosen, self.scratch, |rank, i| {
                put(rank, if listed { self.positions().read(i) } else { i });
            });
        }
    }

    fn keys(&self) -> Shared<u32> {
        self.shared
    }

    fn positions(&self) -> Shared<u32> {
        self.shared.offset(self.capacity)
    }

    fn runs(&self) -> Shared<u32> {
        self.shared.offset(2 * self.capacity)
    }

    /// Where the largest keys of runs are kept, those of a block together: where keys and positions
    /// of candidates will be.
    fn kept_runs(&self) -> Shared<U32x4> {
        self.shared.cast()
    }

    fn sums(&self) -> Shared<u32> {
        self.scratch.offset(SCRATCH - MAX_WARPS)
    }

    /// Between which keys the `chosen` heaviest positions lie. At least so many reach the lower one,
    /// and not many more runs; it is 0 where there are too few runs to tell.
    #[inline(always)]
    fn limits(&self, range: Range, blocks: Blocks, chosen: u32) -> Limits {
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

    /// Lists the runs that may hold positions which reach the bound, as many as have room, in
    /// ascending order, and gives their number. A thread looks at neighbouring blocks.
    #[inline(always)]
    fn list_runs(&self, range: Range, blocks: Blocks, bound: u32) -> u32 {
        let mut listed = 0;
        let mut start = blocks.first;
        while start < blocks.end {
            let from = start + AT_ONCE as u32 * thread::thread_idx_x();
            let keys: [[u32; RUNS as usize]; AT_ONCE] = core::array::from_fn(|i| {
                let block = (from + i as u32).min(blocks.end - 1);
                if blocks.kept {
                    self.kept_runs().read(block - blocks.first).0
                } else {
                    self.values.keys_of_four_runs(block)
                }
            });
            let mut active = reaching(&keys, bound, |i| {
                let first = from * KV_BLOCK + i * RUN;
                first < range.end && first + RUN > range.first
            });
            let (before, all) = sum_before(active.count_ones(), self.sums());
            let mut place = listed + before;
            while active != 0 {
                if place < self.capacity {
                    let run = from * RUNS + active.trailing_zeros();
                    self.runs().write(place, run);
                }
                place += 1;
                active &= active - 1;
            }
            listed += all;
            start += AT_ONCE as u32 * THREADS;
        }
        thread::sync_threads();
        listed
    }

    /// Lists the positions of the listed runs that reach the bound with their keys, as many as have
    /// room, in ascending order, and gives their number. A thread looks at a run.
    #[inline(always)]
    fn list_candidates(&self, range: Range, bound: u32, runs: u32) -> u32 {
        let mut listed = 0;
        let mut start = 0;
        while start < runs {
            let index = start + thread::thread_idx_x();
            let first = self.runs().read(index.min(runs - 1)) * RUN;
            let keys: [[u32; 4]; RUN as usize / 4] =
                core::array::from_fn(|i| self.values.keys_of_four(first / 4 + i as u32));
            let active = reaching(&keys, bound, |i| {
                let position = first + i;
                index < runs && range.first <= position && position < range.end
            });
            let (before, all) = sum_before(active.count_ones(), self.sums());
            let mut place = listed + before;
            for (four, keys) in keys.iter().enumerate() {
                for (i, &key) in keys.iter().enumerate() {
                    let i = 4 * four as u32 + i as u32;
                    let is_listed = active >> i & 1 == 1;
                    if is_listed && place < self.capacity {
                        self.keys().write(place, key);
                        self.positions().write(place, first + i);
                    }
                    place += u32::from(is_listed);
                }
            }
            listed += all;
            start += THREADS;
        }
        thread::sync_threads();
        listed
    }
}

/// Bits of those of 16 keys that reach the bound and are `inside`.
#[inline(always)]
fn reaching(keys: &[[u32; 4]; 4], bound: u32, inside: impl Fn(u32) -> bool) -> u32 {
    let mut bits = 0;
    for (four, keys) in keys.iter().enumerate() {
        for (i, &key) in keys.iter().enumerate() {
            let i = 4 * four as u32 + i as u32;
            if inside(i) && key >= bound {
                bits |= 1 << i;
            }
        }
    }
    bits
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
