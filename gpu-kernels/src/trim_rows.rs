//! From the heaviest rows of V to the fewest of them that hold a given probability.

use cuda_std::{
    Global, GlobalMut, Shared, U32x2, dynamic_shared, kernel, math, shared_array, thread,
};

use crate::reduce::{MAX_WARPS, block_sum, count_before};
use crate::softmax::Softmax;

/// Threads of a block.
pub const THREADS: u32 = 1024;

/// Bytes of dynamic shared memory for lists of at most `row_stride` rows.
pub const fn shared_bytes(row_stride: u32) -> u32 {
    row_stride * 4
}

/// The probabilities of the listed rows, summed over their group of query heads.
#[derive(Clone, Copy)]
struct Masses {
    of_row: Shared<f32>,
    scratch: Shared<f32>,
    count: u32,
}

impl Masses {
    /// Sums the probabilities of the rows, whose scores lie `stride` apart from head to head.
    #[inline(always)]
    fn fill(
        self,
        rows: Global<u32>,
        (scores, stride): (Global<f32>, u32),
        stats: Global<U32x2>,
        group: u32,
    ) {
        let mut i = thread::thread_idx_x();
        while i < self.count {
            let position = rows.read(i as usize) as usize;
            let mut mass = 0.0;
            for head in 0..group as usize {
                let Softmax { max, sum } = Softmax::from_words(stats.read(head));
                mass += math::exp(scores.read(head * stride as usize + position) - max) / sum;
            }
            self.of_row.write(i, mass);
            i += THREADS;
        }
    }

    /// The mass of the rows that `chosen` names by index and key. Each thread asks for the rows
    /// that it has filled.
    #[inline(always)]
    fn sum(self, chosen: impl Fn(u32, u32) -> bool) -> f32 {
        let mut sum = 0.0;
        let mut i = thread::thread_idx_x();
        while i < self.count {
            let mass = self.of_row.read(i);
            if chosen(i, mass.to_bits()) {
                sum += mass;
            }
            i += THREADS;
        }
        block_sum(sum, self.scratch)
    }

    /// The largest key such that the rows of `middle` with this key and larger ones hold `needed`,
    /// and how many of the rows with this very key it takes. Key 0 where all rows hold less.
    #[inline(always)]
    fn threshold(self, middle: impl Fn(u32) -> bool, needed: f32) -> (u32, u32) {
        let mut key = 0;
        for digit in 0..31 {
            let candidate = key | 1 << (30 - digit);
            if self.sum(|i, other| middle(i) && other >= candidate) >= needed {
                key = candidate;
            }
        }
        if key == 0 {
            return (0, 0);
        }
        let rest = needed - self.sum(|i, other| middle(i) && other > key);
        // A float becomes the nearest number that an integer holds.
        let ties = rest / f32::from_bits(key);
        let whole = ties as u32;
        (
            key,
            if whole as f32 >= ties {
                whole
            } else {
                whole + 1
            },
        )
    }
}

/// Shortens the lists of [`crate::select_rows`]: of the rows between sinks and window, the heaviest
/// stay, as few as it takes for the whole list to hold the probability `p`, summed over the group's
/// query heads; of equal ones the first. Where all hold less, all stay.
///
/// `rows`, `counts`, `scores`, `stats`, `lengths`, `q_heads`, `score_stride`, `row_stride`, `sinks`,
/// `window`: as [`crate::select_rows`] had or left them, by
/// [`GroupScore::Sum`](crate::select_rows::GroupScore::Sum).
///
/// Grid `(kv_heads, sequences)`, block `(THREADS)`, dynamic shared memory [`shared_bytes`].
#[kernel(max_threads = THREADS)]
pub fn trim_rows(
    rows: GlobalMut<u32>,
    counts: GlobalMut<u32>,
    scores: Global<f32>,
    stats: Global<f32>,
    lengths: Global<u32>,
    q_heads: u32,
    score_stride: u32,
    row_stride: u32,
    sinks: u32,
    window: u32,
    p: f32,
) {
    let warp_counts = shared_array![u32; MAX_WARPS];
    let scratch = shared_array![f32; MAX_WARPS];
    let (kv_head, sequence) = (thread::block_idx_x(), thread::block_idx_y() as usize);
    let kv_heads = thread::grid_dim_x();
    let group = q_heads / kv_heads;
    let head = sequence * q_heads as usize + (kv_head * group) as usize;
    let pair = sequence * kv_heads as usize + kv_head as usize;
    let rows = rows.offset(pair * row_stride as usize);
    let count = counts.read(pair);
    let first = sinks.min(count);
    let last = count - window.min(lengths.read(sequence) - first);
    let middle = |i: u32| first <= i && i < last;

    let masses = Masses {
        of_row: dynamic_shared(0),
        scratch,
        count,
    };
    let scores = (scores.offset(head * score_stride as usize), score_stride);
    masses.fill(
        rows.as_const(),
        scores,
        stats.cast::<U32x2>().offset(head),
        group,
    );
    let needed = p * group as f32 - masses.sum(|i, _| !middle(i));
    let (key, ties) = if needed > 0.0 {
        masses.threshold(middle, needed)
    } else {
        // No key is larger.
        (u32::MAX, 0)
    };

    let (mut kept, mut equal, mut start) = (first, 0, first);
    while start < count {
        let i = start + thread::thread_idx_x();
        let row = if i < count { rows.read(i as usize) } else { 0 };
        let other = if middle(i) {
            masses.of_row.read(i)
        } else {
            0.0
        }
        .to_bits();
        let ties_here = middle(i) && other == key && key > 0;
        let (before, all_equal) = count_before(ties_here, warp_counts);
        let stays = (middle(i) && other > key)
            || (ties_here && equal + before < ties)
            || (key == 0 || i >= last) && i < count;
        let (rank, all) = count_before(stays, warp_counts);
        // Every row of this round has been read, and none of a later one is written.
        if stays {
            rows.write((kept + rank) as usize, row);
        }
        kept += all;
        equal += all_equal;
        start += THREADS;
    }
    if thread::thread_idx_x() == 0 {
        counts.write(pair, kept);
    }
}
