//! Which access came before which, as far as barriers say.

use std::panic::Location;

/// Lanes in a warp.
pub const LANES: usize = 32;

/// When and where an access was made.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// The block, counted along the first axis of the grid first.
    pub block: u32,
    /// Block barriers passed before.
    epoch: u32,
    /// The thread in its block.
    pub thread: u32,
    /// The thread's own clock.
    clock: u32,
    /// The line of the kernel.
    pub site: &'static Location<'static>,
}

impl Stamp {
    /// Whether two accesses of one block were made by the same warp.
    pub fn same_warp(&self, other: &Self) -> bool {
        self.thread / LANES as u32 == other.thread / LANES as u32
    }
}

/// The clocks of the threads of the running block.
///
/// A block barrier orders everything before it, by all threads, with everything after it, by all
/// threads: one number counts them. A warp barrier orders less: each thread knows, for each lane of
/// its warp, up to which of that lane's clocks it has seen. Blocks are never ordered.
#[derive(Debug, Default)]
pub struct Clocks {
    block: u32,
    epoch: u32,
    seen: Vec<[u32; LANES]>,
}

impl Clocks {
    /// Starts the clocks of a block.
    pub fn start(&mut self, block: u32, threads: u32) {
        self.block = block;
        self.epoch = 0;
        self.seen.clear();
        self.seen.resize(threads as usize, [0; LANES]);
        for thread in 0..threads as usize {
            self.seen[thread][thread % LANES] = 1;
        }
    }

    /// The stamp of an access that `thread` makes now.
    pub fn stamp(&self, thread: u32, site: &'static Location<'static>) -> Stamp {
        let clock = self.seen[thread as usize][thread as usize % LANES];
        Stamp {
            block: self.block,
            epoch: self.epoch,
            thread,
            clock,
            site,
        }
    }

    /// Whether an earlier access is ordered before what the thread of `now` does.
    pub fn ordered(&self, earlier: &Stamp, now: &Stamp) -> bool {
        if earlier.block != now.block {
            return false;
        }
        earlier.thread == now.thread
            || earlier.epoch < now.epoch
            || (earlier.same_warp(now)
                && earlier.clock <= self.seen[now.thread as usize][earlier.thread as usize % LANES])
    }

    /// A barrier of the whole block.
    pub fn join_block(&mut self) {
        self.epoch += 1;
    }

    /// A barrier of the lanes of `mask` in a warp.
    pub fn join_lanes(&mut self, warp: usize, mask: u32) {
        let lanes = || (0..LANES).filter(|lane| mask >> lane & 1 == 1);
        let mut joined = [0; LANES];
        for lane in lanes() {
            for (all, seen) in joined.iter_mut().zip(self.seen[warp * LANES + lane]) {
                *all = seen.max(*all);
            }
        }
        for lane in lanes() {
            let seen = &mut self.seen[warp * LANES + lane];
            *seen = joined;
            seen[lane] += 1;
        }
    }
}
