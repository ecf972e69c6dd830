//! When a block is at what, for a timeline.
//!
//! A launch holds scans, selections and gathers of different pairs side by side, which events around it cannot tell
//! apart. The traced kernels are the same code with a clock that is read between the stages.

use cuda_std::{GlobalMut, thread, timer};

/// Words that a traced kernel writes for each of its blocks: the number of the multiprocessor, and
/// when each [`Mark`] was passed.
pub const MARKS: usize = 6;

/// A point on the way of a block, and its word among [`MARKS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The block's turn has come.
    Begun = 1,
    /// Its part of the keys is scored.
    Scanned = 2,
    /// The rows of the pair are selected. Only the last block of a pair comes here and further.
    Selected = 3,
    /// It is known which of them are hot, and the others have slots.
    LookedUp = 4,
    /// The output is written.
    Done = 5,
}

/// Notes marks, or does not.
pub trait Trace: Copy {
    /// Notes that the block passes a mark.
    fn note(self, mark: Mark);
}

/// Notes nothing.
#[derive(Clone, Copy)]
pub struct Untraced;

impl Trace for Untraced {
    #[inline(always)]
    fn note(self, _: Mark) {}
}

/// Notes the time in `[blocks, MARKS]`.
#[derive(Clone, Copy)]
pub struct Traced(pub GlobalMut<u64>);

impl Trace for Traced {
    #[inline(always)]
    fn note(self, mark: Mark) {
        if thread::thread_idx_x() != 0 {
            return;
        }
        let row = thread::block_idx_z() * thread::grid_dim_y() + thread::block_idx_y();
        let block = row * thread::grid_dim_x() + thread::block_idx_x();
        let words = self.0.offset(block as usize * MARKS);
        if mark == Mark::Begun {
            words.write(0, u64::from(timer::multiprocessor()));
        }
        words.write(mark as usize, timer::nanoseconds());
    }
}
