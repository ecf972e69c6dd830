//! Ranges kept by the program itself.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Place, RECORDING, Range, SINKS};
use crate::{Error, Result};

/// Where a range ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Track {
    /// A thread of this process, numbered as they came.
    Thread(u32),
    /// A queue of a device.
    Stream(&'static str),
    /// A multiprocessor of a device, and a place among the blocks that run on it side by side.
    Multiprocessor {
        /// Which multiprocessor.
        number: u32,
        /// Which of its blocks.
        slot: u32,
    },
}

/// A range that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// What the time was spent on.
    pub range: Range,
    /// The layer, for a range that belongs to one and says so.
    pub layer: Option<usize>,
    /// Where it ran.
    pub track: Track,
    /// When it began, counted from the start of the recording.
    pub start: Duration,
    /// How long it took.
    pub duration: Duration,
}

/// Keeps every range of the process, on all threads, until it is dropped.
#[derive(Debug)]
pub struct Recording(());

/// The spans of the recording that runs, and when it began.
static KEPT: Mutex<Option<(Instant, Vec<Span>)>> = Mutex::new(None);

/// The number of the next thread.
static THREADS: AtomicU32 = AtomicU32::new(0);

thread_local! {
    static THREAD: Cell<Option<u32>> = const { Cell::new(None) };
}

impl Recording {
    /// Begins to keep ranges.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] while another recording of the process runs.
    pub fn start() -> Result<Self> {
        let mut kept = kept();
        if kept.is_some() {
            return Err(Error::InvalidArgument(
                "a recording of ranges runs already".into(),
            ));
        }
        *kept = Some((Instant::now(), Vec::new()));
        SINKS.fetch_or(RECORDING, Ordering::Relaxed);
        Ok(Self(()))
    }

    /// The ranges that ended since the start or the last call.
    pub fn take(&self) -> Vec<Span> {
        let mut kept = kept();
        kept.as_mut()
            .map(|(_, spans)| std::mem::take(spans))
            .unwrap_or_default()
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        SINKS.fetch_and(!RECORDING, Ordering::Relaxed);
        *kept() = None;
    }
}

fn kept() -> MutexGuard<'static, Option<(Instant, Vec<Span>)>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps a range of this thread that ends now, if a recording runs and ran when
/// the range began.
pub(super) fn note(place: Place) {
    let duration = place.start.elapsed();
    let track = Track::Thread(thread());
    if let Some((begun, spans)) = kept().as_mut()
        && let Some(start) = place.start.checked_duration_since(*begun)
    {
        spans.push(Span {
            range: place.range,
            layer: place.layer,
            track,
            start,
            duration,
        });
    }
}

/// When the recording that runs began.
pub(crate) fn begun() -> Option<Instant> {
    kept().as_ref().map(|(begun, _)| *begun)
}

fn thread() -> u32 {
    let next = || THREADS.fetch_add(1, Ordering::Relaxed);
    let number = THREAD.try_with(|number| {
        let own = number.get().unwrap_or_else(next);
        number.set(Some(own));
        own
    });
    // A thread that ends has no number any more.
    number.unwrap_or_else(|_| next())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::trace;

    /// There is one recording in a process, and tests run side by side.
    static ALONE: Mutex<()> = Mutex::new(());

    /// Held by a test that records.
    pub(crate) fn alone() -> MutexGuard<'static, ()> {
        ALONE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The spans of this thread, since other tests' threads record too.
    pub(crate) fn own(spans: Vec<Span>) -> Vec<Span> {
        let track = Track::Thread(thread());
        spans.into_iter().filter(|s| s.track == track).collect()
    }

    #[test]
    fn ranges_are_kept_only_while_a_recording_runs() {
        let _alone = alone();
        drop(trace::range(Range::Load));
        let recording = Recording::start().unwrap();
        {
            let _step = trace::range(Range::DecodeStep);
            let _layer = trace::layer(7);
            drop(trace::range(Range::Mlp));
        }
        let spans = own(recording.take());
        let seen: Vec<_> = spans.iter().map(|s| (s.range, s.layer)).collect();
        let mlp = (Range::Mlp, Some(7));
        let layer = (Range::Layer, Some(7));
        assert_eq!(seen, [mlp, layer, (Range::DecodeStep, None)]);
        let [_, layer, step] = &spans[..] else {
            panic!("{spans:?}")
        };
        assert!(step.start <= layer.start && layer.duration <= step.duration);
        assert!(own(recording.take()).is_empty(), "taken once");
        drop(recording);
    }

    #[test]
    fn a_second_recording_is_refused() {
        let _alone = alone();
        let first = Recording::start().unwrap();
        assert!(Recording::start().is_err());
        drop(first);
        drop(Recording::start().unwrap());
    }

    #[test]
    fn a_range_that_began_before_the_recording_is_left_out() {
        let _alone = alone();
        let early = Instant::now();
        let recording = Recording::start().unwrap();
        note(Place {
            range: Range::Mlp,
            layer: None,
            start: early,
        });
        assert!(own(recording.take()).is_empty());
    }
}
