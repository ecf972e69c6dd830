//! The 32 threads of a warp, and what they do together.
//!
//! Blocks have one axis where these are used: a warp is 32 consecutive values of `thread_idx_x`.
//! Every lane that `mask` names must make the same call with the same mask.

use crate::{platform, thread};

/// Threads in a warp.
pub const SIZE: u32 = 32;

/// The mask that names every lane.
pub const ALL: u32 = u32::MAX;

/// A value of 32 bits that lanes can exchange.
pub trait ShuffleValue: Copy {
    /// The bits of the value.
    fn to_bits(self) -> u32;
    /// The value of the bits.
    fn from_bits(bits: u32) -> Self;
}

impl ShuffleValue for u32 {
    #[inline(always)]
    fn to_bits(self) -> u32 {
        self
    }

    #[inline(always)]
    fn from_bits(bits: u32) -> Self {
        bits
    }
}

impl ShuffleValue for i32 {
    #[inline(always)]
    fn to_bits(self) -> u32 {
        self as u32
    }

    #[inline(always)]
    fn from_bits(bits: u32) -> Self {
        bits as i32
    }
}

impl ShuffleValue for f32 {
    #[inline(always)]
    fn to_bits(self) -> u32 {
        f32::to_bits(self)
    }

    #[inline(always)]
    fn from_bits(bits: u32) -> Self {
        f32::from_bits(bits)
    }
}

/// The thread's index in its warp.
#[inline(always)]
pub fn lane_id() -> u32 {
    thread::thread_idx_x() % SIZE
}

/// The warp's index in its block.
#[inline(always)]
pub fn warp_id() -> u32 {
    thread::thread_idx_x() / SIZE
}

/// Waits for the lanes of `mask`; what they wrote before, all of them see afterwards.
#[inline(always)]
#[track_caller]
pub fn sync_warp(mask: u32) {
    platform::sync_warp(mask);
}

/// The value of lane `lane ^ lane_mask`.
#[inline(always)]
#[track_caller]
pub fn warp_shuffle_xor<T: ShuffleValue>(mask: u32, value: T, lane_mask: u32) -> T {
    T::from_bits(platform::shuffle_xor(mask, value.to_bits(), lane_mask))
}

/// The value of lane `lane + delta`, or the lane's own where that is past the warp.
#[inline(always)]
#[track_caller]
pub fn warp_shuffle_down<T: ShuffleValue>(mask: u32, value: T, delta: u32) -> T {
    T::from_bits(platform::shuffle_down(mask, value.to_bits(), delta))
}

/// The value of lane `lane - delta`, or the lane's own where that is before the warp.
#[inline(always)]
#[track_caller]
pub fn warp_shuffle_up<T: ShuffleValue>(mask: u32, value: T, delta: u32) -> T {
    T::from_bits(platform::shuffle_up(mask, value.to_bits(), delta))
}

/// The value of lane `source`.
#[inline(always)]
#[track_caller]
pub fn warp_shuffle_idx<T: ShuffleValue>(mask: u32, value: T, source: u32) -> T {
    T::from_bits(platform::shuffle_idx(mask, value.to_bits(), source))
}

/// A bit for each lane of `mask` whose predicate holds.
#[inline(always)]
#[track_caller]
pub fn warp_vote_ballot(mask: u32, predicate: bool) -> u32 {
    platform::ballot(mask, predicate)
}

/// Whether the predicate holds in every lane of `mask`.
#[inline(always)]
#[track_caller]
pub fn warp_vote_all(mask: u32, predicate: bool) -> bool {
    platform::ballot(mask, predicate) == mask
}

/// Whether the predicate holds in any lane of `mask`.
#[inline(always)]
#[track_caller]
pub fn warp_vote_any(mask: u32, predicate: bool) -> bool {
    platform::ballot(mask, predicate) != 0
}

/// The sum over the lanes of a whole warp, the same bits in every lane.
#[inline(always)]
#[track_caller]
pub fn warp_sum(mut value: f32) -> f32 {
    let mut step = SIZE / 2;
    while step > 0 {
        value += warp_shuffle_xor(ALL, value, step);
        step /= 2;
    }
    value
}

/// The largest value of a whole warp; NaN only where every lane holds NaN.
#[inline(always)]
#[track_caller]
pub fn warp_max(mut value: f32) -> f32 {
    let mut step = SIZE / 2;
    while step > 0 {
        value = value.max(warp_shuffle_xor(ALL, value, step));
        step /= 2;
    }
    value
}
