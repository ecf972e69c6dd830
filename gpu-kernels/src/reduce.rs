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

/// The largest of the block's `values`, each by itself, the same in every thread. `scratch` as in
/// [`sum_before`]; `N` times the warps of the block are at most [`MAX_WARPS`].
#[inline(always)]
pub fn block_largest<const N: usize>(mut values: [u32; N], scratch: Shared<u32>) -> [u32; N] {
    let warps = thread::block_dim_x() / warp::SIZE;
    for value in &mut values {
        let mut step = 1;
        while step < warp::SIZE {
            *value = (*value).max(warp::warp_shuffle_xor(warp::ALL, *value, step));
            step *= 2;
        }
    }
    if warp::lane_id() == 0 {
        for (i, value) in values.iter().enumerate() {
            scratch.write(i as u32 * warps + warp::warp_id(), *value);
        }
    }
    thread::sync_threads();
    for (i, value) in values.iter_mut().enumerate() {
        for warp in 0..warps {
            *value = (*value).max(scratch.read(i as u32 * warps + warp));
        }
    }
    thread::sync_threads();
    values
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

/// The sum of the values of the threads before this one in the block, and of all. `sums` holds
/// [`MAX_WARPS`] words and may be used again at once.
#[inline(always)]
pub fn sum_before(value: u32, sums: Shared<u32>) -> (u32, u32) {
    let sum = running_sum(value);
    let of_warp = warp::warp_shuffle_idx(warp::ALL, sum, warp::SIZE - 1);
    let (before, all) = warps_before(of_warp, sums);
    (before + sum - value, all)
}

/// Of the threads before this one in the block, and of all, how many have the bit. `counts` as in
/// [`sum_before`].
#[inline(always)]
pub fn count_before(bit: bool, counts: Shared<u32>) -> (u32, u32) {
    let ballot = warp::warp_vote_ballot(warp::ALL, bit);
    let (before, all) = warps_before(ballot.count_ones(), counts);
    let lanes_before = (1 << warp::lane_id()) - 1;
    (before + (ballot & lanes_before).count_ones(), all)
}

/// As [`count_before`], of two bits: what is before for each, and of all.
#[inline(always)]
pub fn count_two_before(bits: [bool; 2], counts: Shared<u32>) -> ([u32; 2], [u32; 2]) {
    let ballots = bits.map(|bit| warp::warp_vote_ballot(warp::ALL, bit));
    let [first, second] = ballots.map(u32::count_ones);
    // A block has at most 1024 threads, so that both counts fit in a word.
    let (before, all) = warps_before(first | second << 16, counts);
    let lanes_before = (1 << warp::lane_id()) - 1;
    let [first, second] = ballots.map(|ballot| (ballot & lanes_before).count_ones());
    let split = |both: u32| [both & 0xffff, both >> 16];
    let before = split(before);
    ([before[0] + first, before[1] + second], split(all))
}

/// The sum of the values of the warps before this one, and of all.
#[inline(always)]
fn warps_before(value: u32, sums: Shared<u32>) -> (u32, u32) {
    let (warp, lane) = (warp::warp_id(), warp::lane_id());
    if lane == 0 {
        sums.write(warp, value);
    }
    thread::sync_threads();
    // Few warps: reading all of their values takes less time than a sum over lanes.
    let (mut before, mut all) = (0, 0);
    for other in 0..thread::block_dim_x() / warp::SIZE {
        let value = sums.read(other);
        before += if other < warp { value } else { 0 };
        all += value;
    }
    thread::sync_threads();
    (before, all)
}
