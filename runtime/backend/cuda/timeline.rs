//! When the device's queues worked at what, by pairs of events around it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::Result;
use crate::driver::{Context, Event, Stream};
use crate::trace::{self, Place, Span, Track};

/// The queue of the kernels.
pub(super) const COMPUTE: &str = "kernels";
/// The queue of the copy engine.
pub(super) const COPIES: &str = "copies";

/// Notes what is queued while it is on.
#[derive(Default)]
pub(super) struct Timeline {
    is_on: AtomicBool,
    noted: Mutex<Option<Noted>>,
}

struct Noted {
    /// Where the times of events count from.
    zero: Event,
    /// When that was, counted from the start of the recording.
    offset: Duration,
    pairs: Vec<Pair>,
}

/// What lay between two events of a queue.
struct Pair {
    place: Place,
    queue: &'static str,
    start: Event,
    end: Event,
}

impl Timeline {
    /// Whether events are set, which a graph could not be made of.
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Begins; nothing is noted unless a [`trace::Recording`] runs.
    pub fn start(&self, stream: &Stream) -> Result<()> {
        let Some(begun) = trace::recording_begun() else {
            return Ok(());
        };
        let zero = Event::timing(stream.context())?;
        // Both clocks are read with the queue empty.
        stream.synchronize()?;
        stream.record(&zero)?;
        zero.synchronize()?;
        let offset = begun.elapsed();
        *self.noted() = Some(Noted {
            zero,
            offset,
            pairs: Vec::new(),
        });
        self.is_on.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Queues `work` on `stream`, the queue of that name. It is noted as the
    /// innermost range of this thread, in one piece with what that range has
    /// queued just before.
    pub fn around(
        &self,
        queue: &'static str,
        stream: &Stream,
        work: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let Some(place) = trace::current().filter(|_| self.is_on()) else {
            return work();
        };
        if !self.goes_on(place, queue) {
            let start = Event::timing(stream.context())?;
            stream.record(&start)?;
            let end = Event::timing(stream.context())?;
            self.add(Pair {
                place,
                queue,
                start,
                end,
            });
        }
        work()?;
        if let Some(pair) = self.noted().as_ref().and_then(|noted| noted.last(queue)) {
            stream.record(&pair.end)?;
        }
        Ok(())
    }

    fn goes_on(&self, place: Place, queue: &str) -> bool {
        let noted = self.noted();
        let last = noted.as_ref().and_then(|noted| noted.last(queue));
        last.is_some_and(|pair| pair.place == place)
    }

    fn add(&self, pair: Pair) {
        if let Some(noted) = self.noted().as_mut() {
            noted.pairs.push(pair);
        }
    }

    /// Ends; waits for what is queued, and says when it ran.
    pub fn finish(&self, context: &Context) -> Result<Vec<Span>> {
        self.is_on.store(false, Ordering::Relaxed);
        let noted = self.noted().take();
        context.synchronize()?;
        match noted {
            Some(noted) => noted.pairs.iter().map(|pair| noted.span(pair)).collect(),
            None => Ok(Vec::new()),
        }
    }

    fn noted(&self) -> MutexGuard<'_, Option<Noted>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Noted {
    /// The newest of `queue`.
    fn last(&self, queue: &str) -> Option<&Pair> {
        self.pairs.iter().rev().find(|pair| pair.queue == queue)
    }

    fn span(&self, pair: &Pair) -> Result<Span> {
        let after = pair.start.milliseconds_since(&self.zero)?;
        let took = pair.end.milliseconds_since(&pair.start)?;
        let time = |ms: f32| Duration::from_secs_f64(f64::from(ms.max(0.0)) / 1e3);
        Ok(Span {
            range: pair.place.range,
            layer: pair.place.layer,
            track: Track::Stream(pair.queue),
            start: self.offset + time(after),
            duration: time(took),
        })
    }
}
