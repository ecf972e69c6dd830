//! Which rows of V a decode step reads: sinks, the recent window, and the heaviest of the rest.

use cuda_std::{Global, GlobalMut, Shared, U32x2, kernel, math, shared_array, thread, warp};

use crate::decode_scores::MAX_GROUP;
use crate::reduce::{MAX_WARPS, count_before, running_sum};
use crate::softmax::Softmax;

/// Threads of a block.
pub const THREADS: u32 = 1024;

/// Values of one digit of a key.
const DIGITS: u32 = 256;

/// Digits that a lane of the first warp counts.
const DIGITS_PER_LANE: u32 = DIGITS / warp::SIZE;

/// Merges the parts of each head's softmax, a warp to a head, into `shared` and `stats`.
#[inline(always)]
fn merge_partials(
    stats: GlobalMut<U32x2>,
    shared: Shared<U32x2>,
    partials: Global<U32x2>,
    group: u32,
    splits: u32,
) {
    let head = warp::warp_id();
    if head < group {
        let mut all = Softmax::EMPTY;
        let mut split = warp::lane_id();
        while split < splits {
            let words = partials.read((head * splits + split) as usize);
            all = all.merge(Softmax::from_words(words));
            split += warp::SIZE;
        }
        let all = all.merge_lanes(warp::SIZE);
        if warp::lane_id() == 0 {
            shared.write(head, all.to_words());
            stats.write(head as usize, all.to_words());
        }
    }
    thread::sync_threads();
}

/// How the query heads of a group agree on one set of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum GroupScore {
    /// By the sum of their probabilities.
    Sum = 0,
    /// By the largest of their probabilities.
    Max = 1,
}

/// The positions that compete, and what each is worth.
#[derive(Clone, Copy)]
struct Candidates {
    /// The group's probability, for each position.
    mass: GlobalMut<f32>,
    first: u32,
    end: u32,
}

impl Candidates {
    /// Takes the probabilities of a group whose scores lie `stride` apart together.
    #[inline(always)]
    fn weigh(
        self,
        (scores, stride): (Global<f32>, u32),
        stats: Shared<U32x2>,
        group: u32,
        group_score: u32,
    ) {
        let mut i = self.first + thread::thread_idx_x();
        while i < self.end {
            let mut mass = 0.0;
            for head in 0..group {
                let Softmax { max, sum } = Softmax::from_words(stats.read(head));
                let score = scores.read(head as usize * stride as usize + i as usize);
                let probability = math::exp(score - max) / sum;
                mass = if group_score == GroupScore::Sum as u32 {
                    mass + probability
                } else {
                    mass.max(probability)
                };
            }
            self.mass.write(i as usize, mass);
            i += THREADS;
        }
    }

    /// The key of a position that its own thread has weighed: larger for a larger mass, which is
    /// never negative.
    #[inline(always)]
    fn key(self, i: u32) -> u32 {
        self.mass.read(i as usize).to_bits()
    }

    /// The key of the position at rank `rank`, counted from 1 for the largest, and how many of the
    /// positions with this very key have at most this rank. Digit by digit, the highest first.
    #[inline(always)]
    fn threshold(self, rank: u32, counts: Shared<u32>, found: Shared<u32>) -> (u32, u32) {
        let (mut key, mut rank) = (0, rank);
        let mut known = 0;
        for digit in 0..4 {
            let shift = 24 - 8 * digit;
            if thread::thread_idx_x() < DIGITS {
                counts.write(thread::thread_idx_x(), 0);
            }
            thread::sync_threads();
            let mut i = self.first + thread::thread_idx_x();
            while i < self.end {
                let other = self.key(i);
                if other & known == key {
                    counts.atomic_add(other >> shift & (DIGITS - 1), 1);
                }
                i += THREADS;
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

/// How many positions with a larger key, and with the very key, came before.
#[derive(Clone, Copy)]
struct Taken {
    larger: u32,
    equal: u32,
}

impl Candidates {
    /// Writes the positions whose keys exceed `key`, and the first `ties` of those that equal it,
    /// in ascending order.
    #[inline(always)]
    fn compact(self, rows: GlobalMut<u32>, key: u32, ties: u32, counts: Shared<u32>) {
        let mut taken = Taken {
            larger: 0,
            equal: 0,
        };
        let mut start = self.first;
        while start < self.end {
            let i = start + thread::thread_idx_x();
            let other = if i < self.end {
                Some(self.key(i))
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
                rows.write((taken.larger + larger + equal_before.min(ties)) as usize, i);
            }
            taken.larger += all_larger;
            taken.equal += all_equal;
            start += THREADS;
        }
    }
}

/// Writes the positions `first..end`.
#[inline(always)]
fn write_range(rows: GlobalMut<u32>, first: u32, end: u32) {
    let mut i = first + thread::thread_idx_x();
    while i < end {
        rows.write((i - first) as usize, i);
        i += THREADS;
    }
}

/// Selects rows of V for each KV head of each sequence: the first `sinks` positions, the last
/// `window`, and between them the `top` positions that their group of query heads values most, by
/// `group_score`, a [`GroupScore`]; of equal ones the first. NaN is valued above all.
///
/// - `rows [sequences, kv_heads, row_stride]`, ascending, of which `counts [sequences, kv_heads]`
///   are written; `row_stride` is at least `sinks + top + window`;
/// - `stats [sequences, q_heads]`: pairs of the largest score `m` and `Σ exp(score - m)`;
/// - `mass [sequences, kv_heads, score_stride]`: room to work;
/// - `scores`, `partials`, `lengths`, `score_stride`: as [`crate::decode_scores`] left them, with
///   `splits` its number of splits.
///
/// Grid `(kv_heads, sequences)`, block `(THREADS)`. `window` or `sinks` is at least 1.
#[kernel(max_threads = THREADS)]
pub fn select_rows(
    rows: GlobalMut<u32>,
    counts: GlobalMut<u32>,
    stats: GlobalMut<f32>,
    mass: GlobalMut<f32>,
    scores: Global<f32>,
    partials: Global<f32>,
    lengths: Global<u32>,
    q_heads: u32,
    score_stride: u32,
    row_stride: u32,
    splits: u32,
    sinks: u32,
    top: u32,
    window: u32,
    group_score: u32,
) {
    let statistics = shared_array![U32x2; MAX_GROUP];
    let digit_counts = shared_array![u32; DIGITS];
    let found = shared_array![u32; 2];
    let warp_counts = shared_array![u32; MAX_WARPS];
    let (kv_head, sequence) = (thread::block_idx_x(), thread::block_idx_y() as usize);
    let kv_heads = thread::grid_dim_x();
    let group = q_heads / kv_heads;
    let head = sequence * q_heads as usize + (kv_head * group) as usize;
    let pair = sequence * kv_heads as usize + kv_head as usize;
    let length = lengths.read(sequence);

    let stats = stats.cast::<U32x2>().offset(head);
    let partials = partials.cast::<U32x2>().offset(head * splits as usize);
    merge_partials(stats, statistics, partials, group, splits);

    let first = sinks.min(length);
    let end = length.saturating_sub(window).max(first);
    let rows = rows.offset(pair * row_stride as usize);
    write_range(rows, 0, first);
    let middle = rows.offset(first as usize);
    let chosen = top.min(end - first);
    if chosen == end - first {
        write_range(middle, first, end);
    } else if chosen > 0 {
        let mass = mass.offset(pair * score_stride as usize);
        let candidates = Candidates { mass, first, end };
        let scores = scores.offset(head * score_stride as usize);
        candidates.weigh((scores, score_stride), statistics, group, group_score);
        let (key, ties) = candidates.threshold(chosen, digit_counts, found);
        candidates.compact(middle, key, ties, warp_counts);
    }
    write_range(middle.offset(chosen as usize), end, length);
    if thread::thread_idx_x() == 0 {
        counts.write(pair, first + chosen + length - end);
    }
}
