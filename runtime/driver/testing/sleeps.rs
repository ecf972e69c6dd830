//! Streams of a real device that dawdle: before what is queued, a kernel sleeps for a time drawn
//! from a seed, so that streams reach their operations in orders that they seldom take.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::function;
use crate::driver::{Function, Launch, Stream};

/// The longest sleep is as long as `2^(SIZES - 1)` microseconds.
const SIZES: u32 = 11;

/// How streams sleep.
struct Sleeps {
    rng: ChaCha8Rng,
    /// How often something sleeps before it runs.
    share: f64,
    /// Whether streams wait for events, which they do unless a test must fail.
    waits: bool,
    /// The kernel, once a stream was seen.
    sleep: Option<Function>,
}

static SLEEPS: Mutex<Option<Sleeps>> = Mutex::new(None);

fn sleeps() -> MutexGuard<'static, Option<Sleeps>> {
    SLEEPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets all streams sleep by `seed`, or no more. Without `waits` no stream waits for an event.
pub(crate) fn reorder(seed: Option<u64>, waits: bool) {
    *sleeps() = seed.map(|seed| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let share = [0.1, 0.4, 0.9][rng.random_range(0..3)];
        Sleeps {
            rng,
            share,
            waits,
            sleep: None,
        }
    });
}

/// Whether streams wait for events.
pub(in crate::driver) fn are_waited_for() -> bool {
    sleeps().as_ref().is_none_or(|sleeps| sleeps.waits)
}

/// Queues a sleep on `stream`, or none, before something else.
pub(in crate::driver) fn before(stream: &Stream) {
    // A sleep is not slept before: nothing is there while it is queued.
    let Some(mut drawn) = sleeps().take() else {
        return;
    };
    if drawn.rng.random_bool(drawn.share) {
        let nanoseconds = 1000u64 << drawn.rng.random_range(0..SIZES);
        let sleep = drawn.sleep.get_or_insert_with(|| function(stream, "sleep"));
        let launch = Launch::new(sleep, [1, 1, 1], [1, 1, 1]).value(&nanoseconds);
        // SAFETY: the kernel touches no memory.
        unsafe { launch.run(stream) }.unwrap_or_else(|e| panic!("{e}"));
    }
    *sleeps() = Some(drawn);
}
