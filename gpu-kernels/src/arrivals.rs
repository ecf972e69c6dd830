//! Which of the blocks that have a part in something is the last to be done with its own.

use cuda_std::{GlobalMut, Shared, thread};

/// Whether this block is the last of `parts` to come here for counter `index`. Then it sees what the
/// others wrote, and the counter is 0 again for the next launch. All threads of the block call it;
/// `arrived` is a word of theirs.
#[inline(always)]
pub fn is_last(arrivals: GlobalMut<u32>, index: usize, parts: u32, arrived: Shared<u32>) -> bool {
    thread::sync_threads();
    if thread::thread_idx_x() == 0 {
        let before = arrivals.atomic_add_acquire_release(index, 1);
        if before + 1 == parts {
            arrivals.write(index, 0);
        }
        arrived.write(0, before + 1);
    }
    thread::sync_threads();
    arrived.read(0) == parts
}
