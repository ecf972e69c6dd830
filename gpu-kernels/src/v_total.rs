//! The running sum of all rows of V, from which their mean is taken.

use cuda_std::{Global, GlobalMut, grid, kernel, shared_array, thread, warp};

/// Threads of a block.
pub const THREADS: u32 = 256;

/// Columns that a block sums, one for each lane: grid `(ceil(width / COLUMNS), sequences)`.
pub const COLUMNS: u32 = warp::SIZE;

/// Warps of a block; each sums every eighth row.
const WARPS: u32 = THREADS / warp::SIZE;

/// Adds new rows of V to the totals of their sequences.
///
/// `totals [sequences]`: the address of each sequence's totals, `[width]` floats; `v [tokens, width]`, rows `stride` apart, of which those from
/// `starts[s]` to `starts[s + 1]` belong to sequence `s`: `starts [sequences + 1]`.
///
/// Grid `(ceil(width / COLUMNS), sequences)`, block `(THREADS)`.
#[kernel(max_threads = THREADS)]
pub fn v_total(totals: Global<u64>, v: Global<f32>, starts: Global<u32>, width: u32, stride: u32) {
    grid::take_turn();
    let parts = shared_array![f32; THREADS];
    let sequence = thread::block_idx_y() as usize;
    let (warp, lane) = (warp::warp_id(), warp::lane_id());
    let column = thread::block_idx_x() * COLUMNS + lane;
    let end = starts.read(sequence + 1);
    let mut row = starts.read(sequence) + warp;
    let mut sum = 0.0;
    while column < width && row < end {
        sum += v.read(row as usize * stride as usize + column as usize);
        row += WARPS;
    }
    parts.write(thread::thread_idx_x(), sum);
    thread::sync_threads();
    if warp == 0 && column < width {
        let totals = GlobalMut::<f32>::from_address(totals.read(sequence));
        let mut total = totals.read(column as usize);
        for part in 0..WARPS {
            total += parts.read(part * COLUMNS + lane);
        }
        totals.write(column as usize, total);
    }
}
