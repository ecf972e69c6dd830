//! From logits to probabilities, and to the likeliest token.

use cuda_std::{Global, GlobalMut, Shared, kernel, math, shared_array, thread, warp};

use crate::reduce::{MAX_WARPS, block_max, block_sum};

/// Threads of a block.
pub const THREADS: u32 = 1024;

/// `out = exp((x - max(x)) · scale) / sum`, row by row: `out`, `logits` `[rows, width]`; `scale` is
/// the inverse of the temperature, and greater than zero.
///
/// Grid `(rows)`, block `(THREADS)`.
#[kernel(max_threads = THREADS)]
pub fn softmax(out: GlobalMut<f32>, logits: Global<f32>, width: u32, scale: f32) {
    let scratch = shared_array![f32; MAX_WARPS];
    let start = thread::block_idx_x() as usize * width as usize;
    let (logits, out) = (logits.offset(start), out.offset(start));
    let first = thread::thread_idx_x();
    let mut max = f32::NEG_INFINITY;
    let mut i = first;
    while i < width {
        max = max.max(logits.read(i as usize));
        i += THREADS;
    }
    let max = block_max(max, scratch);
    let mut sum = 0.0;
    let mut i = first;
    while i < width {
        let weight = math::exp((logits.read(i as usize) - max) * scale);
        out.write(i as usize, weight);
        sum += weight;
        i += THREADS;
    }
    let sum = block_sum(sum, scratch);
    let mut i = first;
    while i < width {
        out.write(i as usize, out.read(i as usize) / sum);
        i += THREADS;
    }
}

/// A logit and where it stands.
#[derive(Clone, Copy)]
struct Candidate {
    value: f32,
    index: u32,
}

impl Candidate {
    /// The larger of two; of equal ones the first. NaN loses to everything.
    #[inline(always)]
    fn better(self, other: Self) -> Self {
        let wins = other.value > self.value
            || (other.value == self.value && other.index < self.index)
            || (self.value.is_nan() && !other.value.is_nan());
        if wins { other } else { self }
    }

    /// The best of the warp, in lane 0.
    #[inline(always)]
    fn best_of_warp(mut self) -> Self {
        let mut step = warp::SIZE / 2;
        while step > 0 {
            let value = warp::warp_shuffle_down(warp::ALL, self.value, step);
            let index = warp::warp_shuffle_down(warp::ALL, self.index, step);
            self = self.better(Self { value, index });
            step /= 2;
        }
        self
    }
}

/// `out[i]` is the index of the largest logit of row `i`, of equal ones the first: `out [rows]`,
/// `logits [rows, width]`. NaN is never the largest; of a row of NaN it is index 0.
///
/// Grid `(rows)`, block `(THREADS)`.
#[kernel(max_threads = THREADS)]
pub fn argmax(out: GlobalMut<u32>, logits: Global<f32>, width: u32) {
    let values = shared_array![f32; MAX_WARPS];
    let indices = shared_array![u32; MAX_WARPS];
    let row = thread::block_idx_x() as usize;
    let logits = logits.offset(row * width as usize);
    let mut best = Candidate {
        value: f32::NAN,
        index: 0,
    };
    let mut i = thread::thread_idx_x();
    while i < width {
        best = best.better(Candidate {
            value: logits.read(i as usize),
            index: i,
        });
        i += THREADS;
    }
    let best = best_of_block(best, values, indices);
    if thread::thread_idx_x() == 0 {
        out.write(row, best.index);
    }
}

/// The best of the block, in its first thread.
#[inline(always)]
fn best_of_block(best: Candidate, values: Shared<f32>, indices: Shared<u32>) -> Candidate {
    let best = best.best_of_warp();
    let (warp, lane) = (warp::warp_id(), warp::lane_id());
    if lane == 0 {
        values.write(warp, best.value);
        indices.write(warp, best.index);
    }
    thread::sync_threads();
    // The block has exactly as many warps as a warp has lanes.
    Candidate {
        value: values.read(lane),
        index: indices.read(lane),
    }
    .best_of_warp()
}
