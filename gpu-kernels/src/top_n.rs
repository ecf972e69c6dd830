//! The largest of many keys, exactly: by digits, the highest first.

use cuda_std::{Shared, thread, warp};

use crate::reduce::{MAX_WARPS, count_two_before, running_sum};

/// Bits of one digit of a key.
const DIGIT_BITS: u32 = 8;

/// Values of one digit of a key.
const DIGITS: u32 = 1 << DIGIT_BITS;

/// Digits that a lane of the first warp counts.
const DIGITS_PER_LANE: u32 = DIGITS / warp::SIZE;

/// Words of shared memory that the functions here work in, the last [`MAX_WARPS`] of them for counts
/// and sums over the block.
pub const SCRATCH: u32 = COUNTS + MAX_WARPS;

/// Where these begin, after the digits and what was found among them.
const COUNTS: u32 = DIGITS + 3;

/// Keys with the indices `first..end`, as `key` gives them. Thread `i` of the block asks for those
/// of `first + i`, and so on by the size of the block.
#[derive(Clone, Copy)]
pub struct Keys<F> {
    /// The first index.
    pub first: u32,
    /// The index after the last.
    pub end: u32,
    /// What is known before a look at them: the closer, the sooner they are told apart.
    pub limits: Limits,
    /// The key of an index.
    pub key: F,
}

/// No key is above `high`, and those below `low` are not among the largest that are asked for.
#[derive(Clone, Copy)]
pub struct Limits {
    /// The least key that counts.
    pub low: u32,
    /// The largest that there may be.
    pub high: u32,
}

impl Limits {
    /// Of any keys.
    pub const NONE: Self = Self {
        low: 0,
        high: u32::MAX,
    };
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
        self.compact(key, ties, scratch.offset(COUNTS), emit);
    }

    /// A key that at least `rank` keys reach, and at most `slack` more: these are all that are
    /// larger, and so many of those with this very key, the first of them, as is said beside it.
    /// Only where keys are equal may more reach it.
    #[inline(always)]
    pub fn threshold(&self, rank: u32, slack: u32, scratch: Shared<u32>) -> (u32, u32) {
        let (counts, found) = (scratch, scratch.offset(DIGITS));
        let Limits { mut low, high } = self.limits;
        let (mut rank, mut span) = (rank, high - low);
        // The highest digit is of the highest bits in which keys differ.
        let mut shift = (u32::BITS - span.leading_zeros()).saturating_sub(DIGIT_BITS);
        loop {
            self.count_digits(low, span, shift, counts);
            if warp::warp_id() == 0 {
                find_digit(rank, counts, found);
            }
            thread::sync_threads();
            low += found.read(0) << shift;
            rank = found.read(1);
            let surplus = found.read(2) - rank;
            if surplus <= slack {
                return (low, rank + surplus);
            }
            if shift == 0 {
                return (low, rank);
            }
            span = (1 << shift) - 1;
            shift = shift.saturating_sub(DIGIT_BITS);
        }
    }

    /// Counts the keys from `low` to `low + span` by a digit of what they are above `low`.
    #[inline(always)]
    fn count_digits(&self, low: u32, span: u32, shift: u32, counts: Shared<u32>) {
        let threads = thread::block_dim_x();
        let mut i = thread::thread_idx_x();
        while i < DIGITS {
            counts.write(i, 0);
            i += threads;
        }
        thread::sync_threads();
        let mut i = self.first + thread::thread_idx_x();
        while i < self.end {
            let above = (self.key)(i).wrapping_sub(low);
            if above <= span {
                counts.atomic_add(above >> shift, 1);
            }
            i += threads;
        }
        thread::sync_threads();
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
            let ([larger, equal], all) = count_two_before([is_larger, is_equal], counts);
            let equal_before = taken.equal + equal;
            if is_larger || (is_equal && equal_before < ties) {
                emit(taken.larger + larger + equal_before.min(ties), i);
            }
            taken.larger += all[0];
            taken.equal += all[1];
            start += thread::block_dim_x();
        }
    }
}

/// Finds the digit in which rank `rank` falls, counted from the highest digit: `found` is the digit,
/// the rank inside it, and how many keys have it.
#[inline(always)]
fn find_digit(rank: u32, counts: Shared<u32>, found: Shared<u32>) {
    let highest = DIGITS - 1 - warp::lane_id() * DIGITS_PER_LANE;
    let counts: [u32; DIGITS_PER_LANE as usize] =
        core::array::from_fn(|j| counts.read(highest - j as u32));
    let sum = counts.iter().sum();
    let mut above = running_sum(sum) - sum;
    for (j, &count) in counts.iter().enumerate() {
        if above < rank && rank <= above + count {
            found.write(0, highest - j as u32);
            found.write(1, rank - above);
            found.write(2, count);
        }
        above += count;
    }
}
