//! From the heaviest rows of V to the fewest of them that hold a given probability.

use cuda_std::{Global, GlobalMut, U32x2, dynamic_shared, kernel, math, shared_array, thread};

use crate::reduce::MAX_WARPS;
use crate::softmax::Softmax;
use crate::top_p::Masses;

/// Threads of a block.
pub const THREADS: u32 = 1024;

/// Bytes of dynamic shared memory for lists of at most `row_stride` rows.
pub const fn shared_bytes(row_stride: u32) -> u32 {
    row_stride * 4
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
    let scores = scores.offset(head * score_stride as usize);
    let stats = stats.cast::<U32x2>().offset(head);
    masses.fill(|i| {
        let position = rows.read(i as usize) as usize;
        let mut mass = 0.0;
        for head in 0..group as usize {
            let Softmax { max, sum } = Softmax::from_words(stats.read(head));
            mass += math::exp(scores.read(head * score_stride as usize + position) - max) / sum;
        }
        mass
    });
    let needed = p * group as f32 - masses.sum(|i, _| !middle(i));
    let cut = masses.cut(middle, needed);
    let kept = masses.keep(cut, middle, rows);
    if thread::thread_idx_x() == 0 {
        counts.write(pair, kept);
    }
}
