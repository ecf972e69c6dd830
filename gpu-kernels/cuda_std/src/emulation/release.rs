//! What an atomic operation with acquire and release semantics hands from thread to thread.

use std::collections::HashMap;

use super::clock::{LANES, Stamp};

/// How far one thread's release reaches into its own block.
#[derive(Clone, Debug)]
pub struct Release {
    /// Barriers that the block had passed: what came before the last of them is published.
    pub epoch: u32,
    /// The thread's warp in the block.
    pub warp: u32,
    /// Up to which clock of each lane of the warp accesses are published.
    pub seen: [u32; LANES],
}

impl Release {
    fn covers(&self, stamp: &Stamp) -> bool {
        let lane = stamp.thread as usize % LANES;
        stamp.epoch < self.epoch
            || (stamp.thread / LANES as u32 == self.warp && stamp.clock <= self.seen[lane])
    }
}

/// The releases that a thread knows of, by block, or those that a location passes on.
#[derive(Clone, Debug, Default)]
pub struct Known(HashMap<u32, Vec<Release>>);

impl Known {
    /// Whether an access was published by one of the releases.
    pub fn covers(&self, stamp: &Stamp) -> bool {
        let releases = self.0.get(&stamp.block);
        releases.is_some_and(|all| all.iter().any(|release| release.covers(stamp)))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a release by a thread of `block`. An earlier one by its warp says nothing more.
    pub fn add(&mut self, block: u32, release: Release) {
        let all = self.0.entry(block).or_default();
        let reaches = |old: &Release| {
            old.warp == release.warp
                && old.epoch <= release.epoch
                && old.seen.iter().zip(&release.seen).all(|(a, b)| a <= b)
        };
        all.retain(|old| !reaches(old));
        all.push(release);
    }

    /// Adds the releases that another knows of.
    pub fn join(&mut self, other: &Self) {
        for (&block, releases) in &other.0 {
            for release in releases {
                self.add(block, release.clone());
            }
        }
    }
}
