//! Allocations that fail on purpose.

use std::sync::atomic::{AtomicU64, Ordering};

/// Makes the k-th allocation of a context fail as if memory had run out.
///
/// Device and pinned memory count alike. A test arms it with 1, 2, 3 … until
/// the work under test succeeds, and so visits every allocation of it.
#[derive(Debug, Default)]
pub struct AllocationFaults {
    /// Allocations up to and with the one that fails; 0 when disarmed.
    remaining: AtomicU64,
}

impl AllocationFaults {
    /// Makes the `k`-th allocation from now fail, once; 0 disarms.
    pub fn arm(&self, k: u64) {
        self.remaining.store(k, Ordering::SeqCst);
    }

    /// Whether the failure has not come yet.
    pub fn armed(&self) -> bool {
        self.remaining.load(Ordering::SeqCst) != 0
    }

    /// Counts one allocation. True if it is the one to fail.
    pub(super) fn strikes(&self) -> bool {
        let step = |n: u64| n.checked_sub(1);
        self.remaining
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, step)
            == Ok(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fails_the_kth_and_only_it() {
        let faults = AllocationFaults::default();
        assert!(!faults.strikes());
        faults.arm(3);
        let struck: Vec<bool> = (0..5).map(|_| faults.strikes()).collect();
        assert_eq!(struck, [false, false, true, false, false]);
        assert!(!faults.armed());
    }
}
