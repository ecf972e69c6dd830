//! Copies from device to shared memory that run while the thread goes on (`cp.async`).
//!
//! A copy may be read by its own thread after [`wait`], and by the others after a
//! [`sync_threads`](crate::thread::sync_threads) that follows it.

use crate::{Element, Global, Shared, platform};

/// Starts a copy of 16 bytes; both addresses must be multiples of 16. Only the first `valid` bytes
/// (0 to 16) are read, the rest of the destination becomes zero.
#[inline(always)]
#[track_caller]
pub fn copy_16<T: Element>(destination: Shared<T>, source: Global<T>, valid: u32) {
    platform::async_copy_16(destination.raw(), source.raw(), valid);
}

/// Closes the group of copies that this thread has started since the last group.
#[inline(always)]
pub fn commit() {
    platform::async_commit();
}

/// Waits until at most `PENDING` of this thread's groups, the latest ones, are unfinished.
#[inline(always)]
#[track_caller]
pub fn wait<const PENDING: u32>() {
    platform::async_wait::<PENDING>();
}
