//! How a launch overlaps with its neighbours in the stream (compute capability 9.0; on older devices launches follow
//! each other, and nothing here is an instruction).
//!
//! The host may launch a kernel that calls [`wait_for_previous`] before the launch ahead of it is
//! done: it finds the call in the kernel's code. Until that call such a kernel may only touch what
//! no launch ahead of it writes, such as weights.

use crate::platform;

/// Lets the next launch of the stream begin as soon as every block has called this or is done, and
/// a multiprocessor has room for it.
#[inline(always)]
pub fn release_next() {
    platform::release_next_grid();
}

/// Waits until the launches ahead in the stream are done and what they wrote can be seen. Every
/// thread calls it, also one that has nothing else to do.
#[inline(always)]
pub fn wait_for_previous() {
    platform::wait_for_previous_grid();
}

/// Both at once: what a kernel begins with that touches nothing before its turn.
#[inline(always)]
pub fn take_turn() {
    release_next();
    wait_for_previous();
}
