//! Where threads wait for each other: the barrier of the block, and operations of a warp.

use std::collections::VecDeque;

use super::clock::LANES;
use super::machine::Site;

/// What a lane gives to an operation of its warp, or gets from it.
pub type Payload = [u32; 10];

/// What the lanes of a warp do together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Wait for each other.
    Sync,
    /// Give word 0, get word 0 of the lane that word 1 names.
    Shuffle,
    /// Give a predicate, get a bit for each lane.
    Ballot,
    /// Give an address of shared memory in two words, get four words of 8×8 tiles.
    LoadMatrix {
        /// Whether each tile is transposed.
        transposed: bool,
    },
    /// Give words of A (4), B (2) and C (4), get words of D (4).
    Multiply {
        /// Whether the 16-bit floats are `bf16`, or else `f16`.
        bf16: bool,
    },
}

/// An operation that some of its lanes have reached.
#[derive(Clone, Debug)]
pub struct Group {
    /// The operation.
    pub operation: Operation,
    /// The lanes that take part.
    pub mask: u32,
    /// The line of the kernel.
    pub site: Site,
    arrived: u32,
    /// What the lanes gave.
    pub payloads: [Payload; LANES],
}

/// What a thread is doing.
#[derive(Clone, Copy, Debug)]
pub enum State {
    /// Running, or able to.
    Ready,
    /// Waiting for the block.
    Barrier(Site),
    /// Waiting for the lanes of a mask.
    Lanes(Operation, u32, Site),
    /// Waiting for the end of a phase: the barrier's address and the parity.
    Phase(u64, u32, Site),
    /// Waiting for the other threads of a warpgroup.
    Product(Site),
    /// At its end.
    Done,
}

/// The threads of the running block, and what they wait for.
#[derive(Debug)]
pub struct Rendezvous {
    /// A state for each thread.
    pub states: Vec<State>,
    groups: Vec<Vec<Group>>,
    results: Vec<Payload>,
    ready: VecDeque<u32>,
    random: u64,
}

impl Rendezvous {
    /// Threads take turns in their own order for seed 0, else in an order drawn from the seed.
    pub fn new(seed: u64) -> Self {
        Self {
            states: Vec::new(),
            groups: Vec::new(),
            results: Vec::new(),
            ready: VecDeque::new(),
            random: seed,
        }
    }

    /// Prepares for the threads of a block.
    pub fn start_block(&mut self, threads: u32) {
        self.states = vec![State::Ready; threads as usize];
        self.results = vec![[0; 10]; threads as usize];
        self.groups = vec![Vec::new(); (threads as usize).div_ceil(LANES)];
        self.ready.clear();
        self.release(0..threads);
    }

    /// The next thread to run, if one can.
    pub fn next_ready(&mut self) -> Option<u32> {
        self.ready.pop_front()
    }

    /// Lets threads run again.
    pub fn release(&mut self, threads: impl Iterator<Item = u32>) {
        let first = self.ready.len();
        for thread in threads {
            self.states[thread as usize] = State::Ready;
            self.ready.push_back(thread);
        }
        if self.random != 0 {
            for last in (first + 1..self.ready.len()).rev() {
                let other = first + self.draw() as usize % (last + 1 - first);
                self.ready.swap(last, other);
            }
        }
    }

    /// A lane reaches an operation. The last to come gets the whole group, whose results are to be
    /// handed to [`Self::complete`]; the others wait.
    pub fn arrive(
        &mut self,
        thread: u32,
        operation: Operation,
        mask: u32,
        site: Site,
        payload: Payload,
    ) -> Option<Group> {
        let lane = thread as usize % LANES;
        let groups = &mut self.groups[thread as usize / LANES];
        let same = |g: &Group| g.operation == operation && g.mask == mask && g.site == site;
        let index = groups.iter().position(same).unwrap_or_else(|| {
            let payloads = [[0; 10]; LANES];
            groups.push(Group {
                operation,
                mask,
                site,
                arrived: 0,
                payloads,
            });
            groups.len() - 1
        });
        groups[index].arrived |= 1 << lane;
        groups[index].payloads[lane] = payload;
        if groups[index].arrived == mask {
            return Some(groups.swap_remove(index));
        }
        self.states[thread as usize] = State::Lanes(operation, mask, site);
        None
    }

    /// Hands out the results of a group whose last lane is `thread`, and lets the others run.
    pub fn complete(&mut self, thread: u32, mask: u32, results: &[Payload; LANES]) {
        let first = thread / LANES as u32 * LANES as u32;
        let lanes = (0..LANES as u32).filter(|lane| mask >> lane & 1 == 1);
        for lane in lanes.clone() {
            self.results[(first + lane) as usize] = results[lane as usize];
        }
        self.release(
            lanes
                .map(|lane| first + lane)
                .filter(|&other| other != thread),
        );
    }

    /// What the last operation of a thread gave.
    pub fn result(&self, thread: u32) -> Payload {
        self.results[thread as usize]
    }

    /// The next number of a xorshift generator.
    fn draw(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}
