//! When and where a kernel runs, for timelines.

use crate::platform;

/// Nanoseconds by the clock of the whole device, which all multiprocessors share and which never
/// goes back. It may advance in steps of up to a microsecond. Accesses to memory stay on their side
/// of the call.
#[inline(always)]
pub fn nanoseconds() -> u64 {
    platform::global_timer()
}

/// The number of the multiprocessor that the thread runs on.
#[inline(always)]
pub fn multiprocessor() -> u32 {
    platform::multiprocessor()
}
