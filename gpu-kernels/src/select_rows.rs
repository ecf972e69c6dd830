//! Which rows of V a decode step reads: sinks, the recent window, and the heaviest of the rest.

use cuda_std::{Global, GlobalMut, Shared, U32x2, kernel, math, shared_array, thread};

use crate::decode_scores::MAX_GROUP;
use crate::softmax::{Softmax, merge_partials};
use crate::top_n::{Keys, Limits, SCRATCH};

/// Threads of a block.
pub const THREADS: u32 = 1024;

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
    let scratch = shared_array![u32; SCRATCH];
    let (kv_head, sequence) = (thread::block_idx_x(), thread::block_idx_y() as usize);
    let kv_heads = thread::grid_dim_x();
    let group = q_heads / kv_heads;
    let head = sequence * q_heads as usize + (kv_head * group) as usize;
    let pair = sequence * kv_heads as usize + kv_head as usize;
    let length = lengths.read(sequence);

    let stats = stats.cast::<U32x2>().offset(head);
    let partials = partials.cast::<U32x2>().offset(head * splits as usize);
    merge_partials(statistics, partials, group, (splits, splits));
    if thread::thread_idx_x() < group {
        let merged = statistics.read(thread::thread_idx_x());
        stats.write(thread::thread_idx_x() as usize, merged);
    }

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
        let key = |i: u32| mass.read(i as usize).to_bits();
        // A mass is never negative, so that a larger one has a larger key.
        let keys = Keys {
            first,
            end,
            limits: Limits::NONE,
            key,
        };
        keys.take(chosen, scratch, |rank, i| middle.write(rank as usize, i));
    }
    write_range(middle.offset(chosen as usize), end, length);
    if thread::thread_idx_x() == 0 {
        counts.write(pair, first + chosen + length - end);
    }
}
