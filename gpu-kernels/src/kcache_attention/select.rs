//! The heaviest positions of a range, exactly, without a look at most of them.
//!
//! The scan has left the largest score of each run. The `n`-th largest of these is reached by `n`
//! positions at least: only runs that reach it are searched, and what reaches it there is ranked in
//! shared memory. Where that leaves too much for shared memory, all positions of the range are
//! ranked where they lie.

use cuda_std::{GlobalMut, Shared, U32x2, thread};

use super::THREADS;
use super::hot_rows::NOT_HOT;
use super::scores::{RUN, Values};
use crate::KV_BLOCK;
use crate::reduce::sum_before;
use crate::top_n::{Keys, SCRATCH};

/// Bytes of shared memory for ranking up to `candidates` positions.
pub const fn shared_bytes(candidates: u32) -> u32 {
    candidates * 12
}

/// Bits of the bound that are not told apart: it may be a little low, and is found in half the time.
const BOUND_IGNORES: u32 = 16;

/// Runs in a block of K, whose maxima one access reads.
const RUNS: u32 = KV_BLOCK / RUN;

/// The positions that compete: from `first` to before `end`.
#[derive(Clone, Copy)]
pub struct Range {
    /// The first of them.
    pub first: u32,
    /// The one after the last.
    pub end: u32,
}

/// Selects among positions by their values.
pub struct Selection {
    /// What each position is worth.
    pub values: Values,
    /// Room for keys, positions and runs, `capacity` of each.
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
            let bound = self.bound(range, chosen);
            let runs = self.list_runs(range, bound);
            let candidates = if runs <= self.capacity {
                self.list_candidates(range, bound, runs)
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
            Keys { first, end, key }.take(chosen, self.scratch, |rank, i| {
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

    fn sums(&self) -> Shared<u32> {
        self.scratch.offset(SCRATCH - crate::reduce::MAX_WARPS)
    }

    /// A key that at least `chosen` positions of the range reach; 0 where the runs are too few to
    /// tell one. Of whole blocks of K; several count as one where they are too many.
    #[inline(always)]
    fn bound(&self, range: Range, chosen: u32) -> u32 {
        let first = range.first.div_ceil(KV_BLOCK);
        let blocks = (range.end / KV_BLOCK).saturating_sub(first);
        let room = 2 * self.capacity;
        let single = blocks * RUNS <= room;
        let (per_unit, units) = if single {
            (1, blocks * RUNS)
        } else {
            let per_unit = blocks.div_ceil(room.max(1));
            (per_unit, blocks.div_ceil(per_unit))
        };
        if units < chosen || units > room {
            return 0;
        }
        let mut start = thread::thread_idx_x() * per_unit;
        while start < blocks {
            let mut keys = [0; RUNS as usize];
            for block in start..(start + per_unit).min(blocks) {
                let within = self.values.keys_of_four_runs(first + block);
                for run in 0..RUNS as usize {
                    keys[run] = keys[run].max(within[run]);
                }
            }
            if single {
                for run in 0..RUNS {
                    self.shared.write(start * RUNS + run, keys[run as usize]);
                }
            } else {
                let [a, b, c, d] = keys;
                self.shared.write(start / per_unit, a.max(b).max(c).max(d));
            }
            start += THREADS * per_unit;
        }
        thread::sync_threads();
        let key = |i| self.shared.read(i);
        let (bound, _) = Keys {
            first: 0,
            end: units,
            key,
        }
        .threshold(chosen, BOUND_IGNORES, self.scratch);
        bound
    }

    /// Lists the runs that may hold positions which reach the bound, as many as have room, in
    /// ascending order, and gives their number.
    #[inline(always)]
    fn list_runs(&self, range: Range, bound: u32) -> u32 {
        let mut listed = 0;
        let mut start = range.first / KV_BLOCK;
        let blocks = range.end.div_ceil(KV_BLOCK);
        while start < blocks {
            let block = start + thread::thread_idx_x();
            let mut active = 0;
            if block < blocks {
                let above = self.values.keys_of_four_runs(block);
                for run in 0..RUNS {
                    let from = block * KV_BLOCK + run * RUN;
                    let inside = from < range.end && from + RUN > range.first;
                    if inside && above[run as usize] >= bound {
                        active |= 1 << run;
                    }
                }
            }
            let (before, all) = sum_before(u32::count_ones(active), self.sums());
            let mut place = listed + before;
            for run in 0..RUNS {
                if active >> run & 1 == 1 {
                    if place < self.capacity {
                        self.runs().write(place, block * RUNS + run);
                    }
                    place += 1;
                }
            }
            listed += all;
            start += THREADS;
        }
        thread::sync_threads();
        listed
    }

    /// Lists the positions of the listed runs that reach the bound with their keys, as many as have
    /// room, in ascending order, and gives their number. A thread looks at four neighbours.
    #[inline(always)]
    fn list_candidates(&self, range: Range, bound: u32, runs: u32) -> u32 {
        let mut listed = 0;
        let mut start = 0;
        while start < runs {
            let index = start + thread::thread_idx_x() / 4;
            let mut position = 0;
            let (mut keys, mut active) = ([0; 4], 0);
            if index < runs {
                position = self.runs().read(index) * RUN + thread::thread_idx_x() % 4 * 4;
                keys = self.values.keys_of_four(position / 4);
                for i in 0..4 {
                    let inside = range.first <= position + i && position + i < range.end;
                    if inside && keys[i as usize] >= bound {
                        active |= 1 << i;
                    }
                }
            }
            let (before, all) = sum_before(u32::count_ones(active), self.sums());
            let mut place = listed + before;
            for i in 0..4 {
                if active >> i & 1 == 1 {
                    if place < self.capacity {
                        self.keys().write(place, keys[i as usize]);
                        self.positions().write(place, position + i);
                    }
                    place += 1;
                }
            }
            listed += all;
            start += THREADS / 4;
        }
        thread::sync_threads();
        listed
    }
}
