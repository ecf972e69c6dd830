//! A ring of stages in shared memory, which one part of a block fills and another uses.

use cuda_std::mbarrier::{self, Barrier};
use cuda_std::{Shared, thread, warp};

/// Bytes of the barriers of one stage.
pub const BARRIER_BYTES: u32 = 16;

/// The barriers of `STAGES` stages.
#[derive(Clone, Copy)]
pub struct Ring<const STAGES: u32>(pub Shared<u64>);

/// A place in the ring.
#[derive(Clone, Copy)]
pub struct Place<const STAGES: u32> {
    /// The stage.
    pub stage: u32,
    /// The parity of the round through the ring.
    pub parity: u32,
}

impl<const STAGES: u32> Place<STAGES> {
    /// Where a ring starts.
    pub const FIRST: Self = Self {
        stage: 0,
        parity: 0,
    };

    /// Goes on to the next stage.
    #[inline(always)]
    pub fn advance(&mut self) {
        self.stage += 1;
        if self.stage == STAGES {
            self.stage = 0;
            self.parity ^= 1;
        }
    }
}

impl<const STAGES: u32> Ring<STAGES> {
    /// Bytes of the barriers.
    pub const BYTES: u32 = STAGES * BARRIER_BYTES;

    /// Makes the barriers: a stage takes so many arrivals to be filled, and to be used. Every thread
    /// of the block calls it.
    #[inline(always)]
    pub fn init(&self, fillers: u32, users: u32) {
        if thread::thread_idx_x() == 0 {
            for stage in 0..STAGES {
                self.filled(stage).init(fillers);
                self.used(stage).init(users);
            }
            mbarrier::fence_initialised();
        }
        thread::sync_threads();
    }

    /// Whose phase ends when the stage has been filled.
    #[inline(always)]
    pub fn filled(&self, stage: u32) -> Barrier {
        Barrier::at(self.0.offset(2 * stage))
    }

    /// Whose phase ends when the stage has been used.
    #[inline(always)]
    pub fn used(&self, stage: u32) -> Barrier {
        Barrier::at(self.0.offset(2 * stage + 1))
    }

    /// Tells that the warp has used a stage.
    #[inline(always)]
    #[track_caller]
    pub fn leave(&self, stage: u32) {
        if warp::lane_id() == 0 {
            self.used(stage).arrive();
        }
    }

    /// Waits until the stage at a place may be filled.
    #[inline(always)]
    #[track_caller]
    pub fn wait_free(&self, place: Place<STAGES>) {
        self.used(place.stage).wait(place.parity ^ 1);
    }

    /// Waits until the stage at a place has been filled.
    #[inline(always)]
    #[track_caller]
    pub fn wait_filled(&self, place: Place<STAGES>) {
        self.filled(place.stage).wait(place.parity);
    }
}

/// The barriers of a ring that a warp has to itself, one for each stage: its phase ends when the
/// stage has been filled.
#[derive(Clone, Copy)]
pub struct WarpRing<const STAGES: u32>(Shared<u64>);

impl<const STAGES: u32> WarpRing<STAGES> {
    /// Makes those of the running warp, which are among those of the block's warps.
    #[inline(always)]
    pub fn of_warp(barriers: Shared<u64>) -> Self {
        let ring = Self(barriers.offset(warp::warp_id() * STAGES));
        if warp::lane_id() == 0 {
            for stage in 0..STAGES {
                ring.filled(stage).init(1);
            }
            mbarrier::fence_initialised();
        }
        warp::sync_warp(warp::ALL);
        ring
    }

    /// Whose phase ends when the stage has been filled.
    #[inline(always)]
    pub fn filled(&self, stage: u32) -> Barrier {
        Barrier::at(self.0.offset(stage))
    }
}
