//! Work that streams hold back: what a real device may do between streams, drawn
//! from a seed.
//!
//! Without a schedule everything runs when it is queued. With one, operations of
//! different streams run in any order that events allow, as late as when someone
//! waits for them.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::PoisonError;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::queue::Call;
use super::{INVALID_VALUE, STATE, State, Status, kernels, memory};

/// What a stream can hold.
pub(super) enum Operation {
    Kernel(Call),
    Copy {
        to: u64,
        from: u64,
        bytes: usize,
    },
    /// A copy of host memory that was read when it was queued.
    Write {
        to: u64,
        bytes: Vec<u8>,
    },
    Fill {
        to: u64,
        byte: u8,
        bytes: usize,
    },
    /// An event's point in its stream.
    Mark(u64),
    /// Nothing after this runs before the mark.
    Wait(u64),
}

/// What is held back, and in which order it will run.
pub(super) struct Schedule {
    rng: ChaCha8Rng,
    /// How often something runs when something is queued.
    haste: f64,
    /// How eager each stream is.
    weights: BTreeMap<usize, u32>,
    pending: BTreeMap<usize, VecDeque<(i32, Operation)>>,
    next_mark: u64,
    /// The last mark of each event.
    events: HashMap<usize, u64>,
    reached: HashSet<u64>,
    /// Whether streams wait for events, which they do unless a test must fail.
    waits: bool,
}

/// Runs what is held back, and then all work in an order drawn from `seed`, or at
/// once. Without `waits` no stream waits for an event.
pub(crate) fn reorder(seed: Option<u64>, waits: bool) {
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    let state = state.get_or_insert_default();
    assert_eq!(drain(state), Ok(()), "a wait without an end");
    state.schedule = seed.map(|seed| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let haste = [0.0, 0.3, 0.8][rng.random_range(0..3)];
        Schedule {
            rng,
            haste,
            weights: BTreeMap::new(),
            pending: BTreeMap::new(),
            next_mark: 0,
            events: HashMap::new(),
            reached: HashSet::new(),
            waits,
        }
    });
}

/// Queues an operation.
pub(super) fn submit(state: &mut State, device: i32, stream: usize, work: Operation) -> Status {
    let Some(schedule) = &mut state.schedule else {
        return perform(state, device, work);
    };
    let rng = &mut schedule.rng;
    let weights = &mut schedule.weights;
    weights
        .entry(stream)
        .or_insert_with(|| [1, 30, 1000][rng.random_range(0..3)]);
    let pending = schedule.pending.entry(stream).or_default();
    pending.push_back((device, work));
    while let Some(schedule) = &mut state.schedule
        && schedule.rng.random_bool(schedule.haste)
        && run_one(state)?
    {}
    Ok(())
}

/// Marks this point of `stream` as that of `event`.
pub(super) fn record(state: &mut State, device: i32, stream: usize, event: usize) -> Status {
    let Some(schedule) = &mut state.schedule else {
        return Ok(());
    };
    schedule.next_mark += 1;
    let mark = schedule.next_mark;
    schedule.events.insert(event, mark);
    submit(state, device, stream, Operation::Mark(mark))
}

/// Holds `stream` until the last mark of `event`.
pub(super) fn wait(state: &mut State, device: i32, stream: usize, event: usize) -> Status {
    let schedule = state.schedule.as_ref().filter(|schedule| schedule.waits);
    match schedule.and_then(|schedule| schedule.events.get(&event).copied()) {
        Some(mark) => submit(state, device, stream, Operation::Wait(mark)),
        None => Ok(()),
    }
}

/// Runs until `stream` holds nothing.
pub(super) fn finish_stream(state: &mut State, stream: usize) -> Status {
    run_until(state, |s| {
        s.pending.get(&stream).is_none_or(VecDeque::is_empty)
    })
}

/// Runs until the last mark of `event`.
pub(super) fn finish_event(state: &mut State, event: usize) -> Status {
    run_until(state, |s| {
        s.events
            .get(&event)
            .is_none_or(|mark| s.reached.contains(mark))
    })
}

/// Runs everything.
pub(super) fn drain(state: &mut State) -> Status {
    run_until(state, |s| s.pending.values().all(VecDeque::is_empty))
}

fn run_until(state: &mut State, done: impl Fn(&Schedule) -> bool) -> Status {
    while state.schedule.as_ref().is_some_and(|s| !done(s)) {
        if !run_one(state)? {
            return Err(INVALID_VALUE);
        }
    }
    Ok(())
}

/// Runs the next operation of some stream; false if none may run.
fn run_one(state: &mut State) -> Result<bool, u32> {
    let Some(schedule) = &mut state.schedule else {
        return Ok(false);
    };
    let Schedule {
        pending, weights, ..
    } = schedule;
    let may_run = |queue: &VecDeque<(i32, Operation)>| match queue.front() {
        Some((_, Operation::Wait(mark))) => schedule.reached.contains(mark),
        next => next.is_some(),
    };
    let ready = pending.iter().filter(|(_, queue)| may_run(queue));
    let ready: Vec<(usize, u32)> = ready.map(|(&s, _)| (s, weights[&s])).collect();
    let total = ready.iter().map(|(_, weight)| weight).sum();
    if total == 0 {
        return Ok(false);
    }
    let mut drawn = schedule.rng.random_range(0..total);
    for (stream, weight) in ready {
        if drawn < weight {
            let next = pending.get_mut(&stream).and_then(VecDeque::pop_front);
            let (device, work) = next.ok_or(INVALID_VALUE)?;
            perform(state, device, work)?;
            break;
        }
        drawn -= weight;
    }
    Ok(true)
}

fn perform(state: &mut State, device: i32, work: Operation) -> Status {
    match work {
        Operation::Kernel(call) => kernels::run(state, device, &call),
        Operation::Copy { to, from, bytes } => memory::copy(to, from, bytes),
        Operation::Write { to, bytes } => memory::copy(to, bytes.as_ptr() as u64, bytes.len()),
        Operation::Fill { to, byte, bytes } => {
            // SAFETY: the range lies in an allocation.
            unsafe { (to as *mut u8).write_bytes(byte, bytes) };
            Ok(())
        }
        Operation::Mark(mark) => {
            if let Some(schedule) = &mut state.schedule {
                schedule.reached.insert(mark);
            }
            Ok(())
        }
        Operation::Wait(_) => Ok(()),
    }
}
