//! Where a thread stands in its grid, and the barrier of its block.

use crate::platform;

/// The thread's index in its block, first axis.
#[inline(always)]
pub fn thread_idx_x() -> u32 {
    platform::thread_idx_x()
}

/// The thread's index in its block, second axis.
#[inline(always)]
pub fn thread_idx_y() -> u32 {
    platform::thread_idx_y()
}

/// The thread's index in its block, third axis.
#[inline(always)]
pub fn thread_idx_z() -> u32 {
    platform::thread_idx_z()
}

/// The block's index in the grid, first axis.
#[inline(always)]
pub fn block_idx_x() -> u32 {
    platform::block_idx_x()
}

/// The block's index in the grid, second axis.
#[inline(always)]
pub fn block_idx_y() -> u32 {
    platform::block_idx_y()
}

/// The block's index in the grid, third axis.
#[inline(always)]
pub fn block_idx_z() -> u32 {
    platform::block_idx_z()
}

/// Threads in a block, first axis.
#[inline(always)]
pub fn block_dim_x() -> u32 {
    platform::block_dim_x()
}

/// Threads in a block, second axis.
#[inline(always)]
pub fn block_dim_y() -> u32 {
    platform::block_dim_y()
}

/// Threads in a block, third axis.
#[inline(always)]
pub fn block_dim_z() -> u32 {
    platform::block_dim_z()
}

/// Blocks in the grid, first axis.
#[inline(always)]
pub fn grid_dim_x() -> u32 {
    platform::grid_dim_x()
}

/// Blocks in the grid, second axis.
#[inline(always)]
pub fn grid_dim_y() -> u32 {
    platform::grid_dim_y()
}

/// Blocks in the grid, third axis.
#[inline(always)]
pub fn grid_dim_z() -> u32 {
    platform::grid_dim_z()
}

/// The thread's index in a grid of one axis.
#[inline(always)]
pub fn index_1d() -> u32 {
    block_idx_x() * block_dim_x() + thread_idx_x()
}

/// Waits until every thread of the block is here; what they wrote before, all see afterwards.
/// Every thread of the block must reach the same call.
#[inline(always)]
#[track_caller]
pub fn sync_threads() {
    platform::sync_threads();
}
