//! When the device's queues worked at what, by pairs of events around it; and what blocks did inside a launch, by marks
//! of their own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::block_marks::BlockMarks;
use super::block_spans::{self, Launch};
use crate::Result;
use crate::driver::{DeviceSliceMut, Event, Stream};
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
    marks: BlockMarks,
    /// For each launch with marks the pair around it.
    traced: Vec<usize>,
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
            marks: BlockMarks::default(),
            traced: Vec::new(),
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

    /// Launches a kernel of the innermost range by [`Self::around`]: with room for the marks of its
    /// blocks, `words`, or without.
    pub fn with_marks<E>(
        &self,
        words: usize,
        stream: &Stream,
        launch: impl FnOnce(Option<&DeviceSliceMut<'_, u64>>) -> std::result::Result<(), E>,
    ) -> Result<()>
    where
        crate::Error: From<E>,
    {
        let mut noted = self.noted();
        let Some(noted) = noted.as_mut().filter(|_| self.is_on()) else {
            return Ok(launch(None)?);
        };
        let Some(pair) = noted.pairs.iter().rposition(|pair| pair.queue == COMPUTE) else {
            return Ok(launch(None)?);
        };
        let room = noted.marks.room(words, stream)?;
        launch(Some(&room))?;
        noted.traced.push(pair);
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

    /// Ends; waits for what is queued, and says when it ran. `stream` is the queue of the kernels.
    pub fn finish(&self, stream: &Stream) -> Result<Vec<Span>> {
        self.is_on.store(false, Ordering::Relaxed);
        let noted = self.noted().take();
        stream.context().synchronize()?;
        let Some(noted) = noted else {
            return Ok(Vec::new());
        };
        let pairs = noted.pairs.iter().map(|pair| noted.span(pair));
        let mut spans = pairs.collect::<Result<Vec<Span>>>()?;
        let inside = noted.blocks(&spans, stream)?;
        spans.extend(inside);
        Ok(spans)
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

    /// What blocks did inside the launches that `pairs` are the spans around.
    fn blocks(&self, pairs: &[Span], stream: &Stream) -> Result<Vec<Span>> {
        let blocks = self.marks.read(stream)?;
        let launches = self
            .traced
            .iter()
            .zip(blocks)
            .filter_map(|(&pair, blocks)| {
                let span = pairs.get(pair)?;
                let start = span.start.saturating_sub(self.offset);
                let nanoseconds = |time: Duration| time.as_nanos() as i64;
                Some(Launch {
                    layer: span.layer,
                    start: nanoseconds(start),
                    end: nanoseconds(start + span.duration),
                    blocks,
                })
            });
        let launches: Vec<Launch> = launches.collect();
        Ok(block_spans::spans(&launches, self.offset))
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
