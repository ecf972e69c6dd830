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
use crate::reduce::{MAX_WARPS, sum_before};
use crate::top_n::{Keys, SCRATCH};

/// Bytes of shared memory for ranking up to `candidates` positions.
pub const fn shared_bytes(candidates: u32) -> u32 {
    candidates * 12
}

/// Runs in a block of K, whose maxima one access reads.
pub const RUNS: u32 = KV_BLOCK / RUN;

/// Accesses that a thread has under way: what selects waits for memory more than for anything else.
pub const AT_ONCE: usize = 4;

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
pub struct Blocks {
    /// The first of them.
    pub first: u32,
    /// The one after the last.
    pub end: u32,
    /// Whether the largest keys of their runs are in shared memory.
    pub kept: bool,
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
    pub fn kept_runs(&self) -> Shared<U32x4> {
        self.shared.cast()
    }

    pub fn sums(&self) -> Shared<u32> {
        self.scratch.offset(SCRATCH - MAX_WARPS)
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
