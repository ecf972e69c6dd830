//! Shuffles, votes and the warp's barrier.

unsafe extern "C" {
    #[link_name = "llvm.nvvm.shfl.sync.bfly.i32"]
    fn shfl_bfly(mask: i32, value: i32, lane_mask: i32, clamp: i32) -> i32;
    #[link_name = "llvm.nvvm.shfl.sync.down.i32"]
    fn shfl_down(mask: i32, value: i32, delta: i32, clamp: i32) -> i32;
    #[link_name = "llvm.nvvm.shfl.sync.up.i32"]
    fn shfl_up(mask: i32, value: i32, delta: i32, clamp: i32) -> i32;
    #[link_name = "llvm.nvvm.shfl.sync.idx.i32"]
    fn shfl_idx(mask: i32, value: i32, source: i32, clamp: i32) -> i32;
    #[link_name = "llvm.nvvm.vote.ballot.sync"]
    fn vote_ballot(mask: i32, predicate: bool) -> i32;
    #[link_name = "llvm.nvvm.bar.warp.sync"]
    fn bar_warp_sync(mask: i32);
}

/// The last lane that a shuffle may read from, in the form the instruction takes it.
const LAST_LANE: i32 = 31;

/// The same for `shfl.up`, whose bound is the first lane.
const FIRST_LANE: i32 = 0;

#[inline(always)]
pub fn sync_warp(mask: u32) {
    // SAFETY: the caller's contract is that every lane of `mask` comes here.
    unsafe { bar_warp_sync(mask as i32) }
}

#[inline(always)]
pub fn shuffle_xor(mask: u32, value: u32, lane_mask: u32) -> u32 {
    // SAFETY: as for `sync_warp`.
    unsafe { shfl_bfly(mask as i32, value as i32, lane_mask as i32, LAST_LANE) as u32 }
}

#[inline(always)]
pub fn shuffle_down(mask: u32, value: u32, delta: u32) -> u32 {
    // SAFETY: as for `sync_warp`.
    unsafe { shfl_down(mask as i32, value as i32, delta as i32, LAST_LANE) as u32 }
}

#[inline(always)]
pub fn shuffle_up(mask: u32, value: u32, delta: u32) -> u32 {
    // SAFETY: as for `sync_warp`.
    unsafe { shfl_up(mask as i32, value as i32, delta as i32, FIRST_LANE) as u32 }
}

#[inline(always)]
pub fn shuffle_idx(mask: u32, value: u32, source: u32) -> u32 {
    // SAFETY: as for `sync_warp`.
    unsafe { shfl_idx(mask as i32, value as i32, source as i32, LAST_LANE) as u32 }
}

#[inline(always)]
pub fn ballot(mask: u32, predicate: bool) -> u32 {
    // SAFETY: as for `sync_warp`.
    unsafe { vote_ballot(mask as i32, predicate) as u32 }
}
