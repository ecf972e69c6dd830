//! Reductions over a block, and running sums.

use cuda_std::{Shared, thread, warp};

/// The warps of the largest block.
pub const MAX_WARPS: u32 = 32;

/// The sum over the block, the same bits in every thread. `scratch` holds [`MAX_WARPS`] floats and
/// may be used again at once.
#[inline(always)]
pub fn block_sum(value: f32, scratch: Shared<f32>) -> f32 {
    let value = warp::warp_sum(value);
    warp::warp_sum(exchange(value, 0.0, scratch))
}

/// The largest value of the block, as [`block_sum`].
#[inline(always)]
pub fn block_max(value: f32, scratch: Shared<f32>) -> f32 {
    let value = warp::warp_max(value);
    warp::warp_max(exchange(value, f32::NEG_INFINITY, scratch))
}

/// Gives lane `i` of every warp the value of warp `i`, or `neutral` past the last warp.
#[inline(always)]
fn exchange(value: f32, neutral: f32, scratch: Shared<f32>) -> f32 {
    let (warp, lane) = (warp::warp_id(), warp::lane_id());
    if lane == 0 {
        scratch.write(warp, value);
    }
    thread::sync_threads();
    let warps = thread::block_dim_x() / warp::SIZE;
    let other = if lane < warps {
        scratch.read(lane)
    } else {
        neutral
    };
    thread::sync_threads();
    other
}

/// The sum of the lanes' values from lane 0 to this one.
#[inline(always)]
pub fn running_sum(mut value: u32) -> u32 {
    let mut step = 1;
    while step < warp::SIZE {
        let before = warp::warp_shuffle_up(warp::ALL, value, step);
        if warp::lane_id() >= step {
            value += before;
        }
        step *= 2;
    }
    value
}

/// Of the threads before this one in the block, and of all, how many have the bit. For blocks of
/// [`MAX_WARPS`] warps; `counts` holds as many words and may be used again at once.
#[inline(always)]
pub fn count_before(bit: bool, counts: Shared<u32>) -> (u32, u32) {
    let (warp, lane) = (warp::warp_id(), warp::lane_id());
    let ballot = warp::warp_vote_ballot(warp::ALL, bit);
    if lane == 0 {
        counts.write(warp, ballot.count_ones());
    }
    thread::sync_threads();
    let count = counts.read(lane);
    thread::sync_threads();
    let sum = running_sum(count);
    let warps_before = warp::warp_shuffle_idx(warp::ALL, sum - count, warp);
    let total = warp::warp_shuffle_idx(warp::ALL, sum, warp::SIZE - 1);
    (
        warps_before + (ballot & ((1 << lane) - 1)).count_ones(),
        total,
    )
}
