//! Barriers in shared memory that count arrivals and bytes (`mbarrier`, compute capability 9.0).
//!
//! A barrier goes through phases. A phase ends when as many threads have arrived as the barrier was
//! made for, and every byte that they announced has been copied; then the next begins. Phases have
//! parities, the first 0. What a thread did before it arrives, and what the copies brought, those
//! see who wait for that phase.

use crate::{Shared, platform};

/// The address of a barrier: eight bytes of shared memory.
#[derive(Clone, Copy)]
pub struct Barrier(Shared<u64>);

impl Barrier {
    /// The barrier at an address.
    #[inline(always)]
    pub fn at(place: Shared<u64>) -> Self {
        Self(place)
    }

    /// Makes it a barrier whose phases take `arrivals` arrivals. One thread does this, then calls
    /// [`fence_initialised`]; the others use the barrier after a
    /// [`sync_threads`](crate::thread::sync_threads).
    #[inline(always)]
    #[track_caller]
    pub fn init(self, arrivals: u32) {
        platform::mbarrier_init(self.0.raw(), arrivals);
    }

    /// Arrives.
    #[inline(always)]
    #[track_caller]
    pub fn arrive(self) {
        platform::mbarrier_arrive(self.0.raw());
    }

    /// Arrives, and announces that copies of `bytes` bytes belong to this phase.
    #[inline(always)]
    #[track_caller]
    pub fn arrive_expecting(self, bytes: u32) {
        platform::mbarrier_arrive_expecting(self.0.raw(), bytes);
    }

    /// Waits until the phase of this parity has ended. On a barrier that is new, the phase before
    /// the first, of parity 1, has ended.
    #[inline(always)]
    #[track_caller]
    pub fn wait(self, parity: u32) {
        platform::mbarrier_wait(self.0.raw(), parity);
    }

    pub(crate) fn raw(self) -> platform::SharedAddress {
        self.0.raw()
    }
}

/// Lets the asynchronous copies see the barriers that this thread has made.
#[inline(always)]
pub fn fence_initialised() {
    platform::fence_initialised();
}
