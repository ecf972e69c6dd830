//! Reductions over a block.

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
