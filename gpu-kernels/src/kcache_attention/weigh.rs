//! What a group of query heads makes of every position together.
//!
//! One block reads all scores of its group: they come by way of a ring in shared memory, in which
//! each thread has places of its own for what it will need, so that many reads are under way.

use cuda_std::{F32x4, GlobalMut, Shared, async_copy, dynamic_shared, math, thread, warp};

use super::THREADS;
use super::scores::{RUN, Weights};
use crate::select_rows::GroupScore;

/// Reads of 16 bytes that a thread has under way.
const AHEAD: u32 = 16;

/// Bytes of dynamic shared memory.
pub const SHARED_BYTES: u32 = AHEAD * THREADS * size_of::<F32x4>() as u32;

/// The next read of a thread: four neighbours, of which it takes every `THREADS`-th, of one head.
#[derive(Clone, Copy)]
struct Next {
    four: u32,
    head: u32,
    place: u32,
}

impl Next {
    #[inline(always)]
    fn first() -> Self {
        Self {
            four: thread::thread_idx_x(),
            head: 0,
            place: 0,
        }
    }

    /// Goes on, through the heads first.
    #[inline(always)]
    fn advance(&mut self, group: u32) {
        self.place = (self.place + 1) % AHEAD;
        self.head += 1;
        if self.head == group {
            self.head = 0;
            self.four += THREADS;
        }
    }

    /// The thread's place in the ring.
    #[inline(always)]
    fn room(&self) -> Shared<F32x4> {
        dynamic_shared::<F32x4>(0).offset(self.place * THREADS + thread::thread_idx_x())
    }
}

impl Weights {
    /// Writes what the group gives the positions before `end`, a multiple of [`RUN`], to `masses`,
    /// and the largest of each run to `maxima`. All threads of the block take part.
    #[inline(always)]
    pub fn weigh(&self, end: u32, masses: GlobalMut<f32>, maxima: GlobalMut<f32>) {
        let (fours, group) = (end / 4, self.scores.group);
        let mut ahead = Next::first();
        for _ in 1..AHEAD {
            self.start(&mut ahead, fours);
        }
        let mut next = Next::first();
        // All lanes of a warp, for they find the largest of a run together.
        while next.four - thread::thread_idx_x() < fours {
            let four = next.four;
            let mut mass = [0.0f32; 4];
            for _ in 0..group {
                self.start(&mut ahead, fours);
                async_copy::wait::<{ AHEAD - 1 }>();
                if four < fours {
                    mass = self.add(mass, next.head, next.room().read(0).0);
                }
                next.advance(group);
            }
            let [a, b, c, d] = mass;
            let mut best = math::max_nan(math::max_nan(a, b), math::max_nan(c, d));
            best = math::max_nan(best, warp::warp_shuffle_xor(warp::ALL, best, 1));
            best = math::max_nan(best, warp::warp_shuffle_xor(warp::ALL, best, 2));
            if four < fours {
                masses.cast::<F32x4>().write(four as usize, F32x4(mass));
                if four.is_multiple_of(RUN / 4) {
                    maxima.write((four / (RUN / 4)) as usize, best);
                }
            }
        }
        async_copy::wait::<0>();
    }

    /// Starts the next read, if there is one.
    #[inline(always)]
    fn start(&self, next: &mut Next, fours: u32) {
        if next.four < fours {
            let scores = self.scores.of(next.head).as_const().cast::<F32x4>();
            async_copy::copy_16(next.room(), scores.offset(next.four as usize), 16);
        }
        async_copy::commit();
        next.advance(self.scores.group);
    }

    /// Adds the probabilities that a head gives four scores.
    #[inline(always)]
    fn add(&self, masses: [f32; 4], head: u32, scores: [f32; 4]) -> [f32; 4] {
        let softmax = self.softmax(head);
        let sum = self.group_score == GroupScore::Sum as u32;
        core::array::from_fn(|i| {
            let probability = softmax.probability(scores[i]);
            if sum {
                masses[i] + probability
            } else {
                math::max_nan(masses[i], probability)
            }
        })
    }
}
