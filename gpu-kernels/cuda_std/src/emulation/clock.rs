//! Which access came before which, as far as barriers and releases say.

use std::collections::HashMap;
use std::panic::Location;

use super::release::{Known, Release};

/// Lanes in a warp.
pub const LANES: usize = 32;

/// When and where an access was made.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// The block, counted along the first axis of the grid first.
    pub block: u32,
    /// Block barriers passed before.
    pub epoch: u32,
    /// The thread in its block.
    pub thread: u32,
    /// The thread's own clock.
    pub clock: u32,
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
/// its warp, up to which of that lane's clocks it has seen. Blocks are ordered by what a thread
/// releases through an atomic operation and a thread of a later block acquires through the same
/// location; barriers pass that on to the block.
#[derive(Debug, Default)]
pub struct Clocks {
    block: u32,
    epoch: u32,
    seen: Vec<[u32; LANES]>,
    /// Up to which of its own clocks a thread's writes are visible to other units.
    fenced: Vec<u32>,
    /// What each location passes on to those who acquire.
    released: HashMap<u64, Known>,
    /// What all threads of the block know.
    common: Known,
    /// What a thread has acquired since the last barrier of the block.
    acquired: Vec<Known>,
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
        self.fenced = vec![0; threads as usize];
        self.common = Known::default();
        self.acquired.clear();
        self.acquired.resize_with(threads as usize, Known::default);
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
        let thread = now.thread as usize;
        let in_block = earlier.block == now.block
            && (earlier.thread == now.thread
                || earlier.epoch < now.epoch
                || (earlier.same_warp(now)
                    && earlier.clock <= self.seen[thread][earlier.thread as usize % LANES]));
        in_block || self.common.covers(earlier) || self.acquired[thread].covers(earlier)
    }

    /// An atomic operation of `thread` that acquires what the location passes on, and releases to
    /// it what the thread has done and knows.
    pub fn acquire_release(&mut self, thread: u32, address: u64) {
        let mut passed_on = self.released.remove(&address).unwrap_or_default();
        self.acquire(thread, &passed_on);
        self.release(thread, &mut passed_on);
        self.released.insert(address, passed_on);
    }

    /// `thread` knows from now on what `known` publishes.
    pub fn acquire(&mut self, thread: u32, known: &Known) {
        self.acquired[thread as usize].join(known);
    }

    /// Adds to `known` what the thread has done and knows.
    pub fn release(&mut self, thread: u32, known: &mut Known) {
        let (warp, thread) = (thread / LANES as u32, thread as usize);
        known.join(&self.common);
        known.join(&self.acquired[thread]);
        let (epoch, seen) = (self.epoch, self.seen[thread]);
        known.add(self.block, Release { epoch, warp, seen });
        // What the thread does from now on is not released.
        self.seen[thread][thread % LANES] += 1;
    }

    /// What `thread` has written, units other than the threads may read from now on.
    pub fn fence(&mut self, thread: u32) {
        let clock = &mut self.seen[thread as usize][thread as usize % LANES];
        self.fenced[thread as usize] = *clock;
        *clock += 1;
    }

    /// Whether such a unit sees a write.
    pub fn is_fenced(&self, write: &Stamp) -> bool {
        write.clock <= self.fenced[write.thread as usize]
    }

    /// A plain write ends what a location passes on.
    pub fn overwrite(&mut self, address: u64) {
        if !self.released.is_empty() {
            self.released.remove(&address);
        }
    }

    /// A barrier of the whole block.
    pub fn join_block(&mut self) {
        self.epoch += 1;
        for acquired in self.acquired.iter_mut().filter(|known| !known.is_empty()) {
            self.common.join(acquired);
            *acquired = Known::default();
        }
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
        let mut acquired = Known::default();
        for lane in lanes() {
            let seen = &mut self.seen[warp * LANES + lane];
            *seen = joined;
            seen[lane] += 1;
            acquired.join(&self.acquired[warp * LANES + lane]);
        }
        if !acquired.is_empty() {
            lanes().for_each(|lane| self.acquired[warp * LANES + lane] = acquired.clone());
        }
    }
}
