//! The largest of many keys, exactly: by digits, the highest first.

use cuda_std::{Shared, math, thread, warp};

use crate::reduce::{MAX_WARPS, count_before, running_sum};

/// Values of one digit of a key.
const DIGITS: u32 = 256;

/// Digits that a lane of the first warp counts.
const DIGITS_PER_LANE: u32 = DIGITS / warp::SIZE;

/// Words of shared memory that the functions here work in. [`count_before`] may use them between.
pub const SCRATCH: u32 = DIGITS + 2 + MAX_WARPS;

/// Keys with the indices `first..end`, as `key` gives them. Thread `i` of the block asks for those
/// of `first + i`, and so on by the size of the block.
#[derive(Clone, Copy)]
pub struct Keys<F> {
    /// The first index.
    pub first: u32,
    /// The index after the last.
    pub end: u32,
    /// The key of an index.
    pub key: F,
}

/// How many indices with a larger key, and with the very key, came before.
#[derive(Clone, Copy)]
struct Taken {
    larger: u32,
    equal: u32,
}

impl<F: Fn(u32) -> u32> Keys<F> {
    /// Gives the indices of the `rank` largest keys to `emit`, in ascending order, each with its
    /// place in that order. Of equal keys the first count. There are at least `rank` keys, and
    /// `rank` is not 0.
    #[inline(always)]
    pub fn take(&self, rank: u32, scratch: Shared<u32>, emit: impl Fn(u32, u32)) {
        let (key, ties) = self.threshold(rank, 0, scratch);
        self.compact(key, ties, scratch.offset(DIGITS + 2), emit);
    }

    /// The key at rank `rank`, counted from 1 for the largest, and how many of the indices with
    /// this very key have at most this rank. The lowest bits of keys, `ignored` of them, a multiple
    /// of 8, count as 0.
    #[inline(always)]
    pub fn threshold(&self, rank: u32, ignored: u32, scratch: Shared<u32>) -> (u32, u32) {
        let (counts, found) = (scratch, scratch.offset(DIGITS));
        let threads = thread::block_dim_x();
        let (mut key, mut rank) = (0, rank);
        let mut known = 0;
        // Four times this code would be much of it.
        let mut shift = math::opaque(u32::BITS);
        while shift > ignored {
            shift -= DIGITS.ilog2();
            let mut i = thread::thread_idx_x();
            while i < DIGITS {
                counts.write(i, 0);
                i += threads;
            }
            thread::sync_threads();
            let mut i = self.first + thread::thread_idx_x();
            while i < self.end {
                let other = (self.key)(i);
                if other & known == key {
                    counts.atomic_add(other >> shift & (DIGITS - 1), 1);
                }
                i += threads;
            }
            thread::sync_threads();
            if warp::warp_id() == 0 {
                find_digit(rank, counts, found);
            }
            thread::sync_threads();
            key |= found.read(0) << shift;
            known |= (DIGITS - 1) << shift;
            rank = found.read(1);
        }
        (key, rank)
    }

    /// Emits the indices whose keys exceed `key`, and the first `ties` of those that equal it.
    #[inline(always)]
    fn compact(&self, key: u32, ties: u32, counts: Shared<u32>, emit: impl Fn(u32, u32)) {
        let mut taken = Taken {
            larger: 0,
            equal: 0,
        };
        let mut start = self.first;
        while start < self.end {
            let i = start + thread::thread_idx_x();
            let other = if i < self.end {
                Some((self.key)(i))
            } else {
                None
            };
            let (is_larger, is_equal) = (
                other.is_some_and(|o| o > key),
                other.is_some_and(|o| o == key),
            );
            let (larger, all_larger) = count_before(is_larger, counts);
            let (equal, all_equal) = count_before(is_equal, counts);
            let equal_before = taken.equal + equal;
            if is_larger || (is_equal && equal_before < ties) {
                emit(taken.larger + larger + equal_before.min(ties), i);
            }
            taken.larger += all_larger;
            taken.equal += all_equal;
            start += thread::block_dim_x();
        }
    }
}

/// Finds the digit in which rank `rank` falls, counted from the highest digit, and the rank inside
/// it: `found` is both.
#[inline(always)]
fn find_digit(rank: u32, counts: Shared<u32>, found: Shared<u32>) {
    let highest = DIGITS - 1 - warp::lane_id() * DIGITS_PER_LANE;
    let mut sum = 0;
    for j in 0..DIGITS_PER_LANE {
        sum += counts.read(highest - j);
    }
    let mut above = running_sum(sum) - sum;
    for j in 0..DIGITS_PER_LANE {
        let count = counts.read(highest - j);
        if above < rank && rank <= above + count {
            found.write(0, highest - j);
            found.write(1, rank - above);
        }
        above += count;
    }
}
