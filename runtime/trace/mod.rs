//! Where the time goes: named ranges, for a profiler and for the program itself.
//!
//! [`range`] marks what runs until its guard is dropped. Marks go to two sinks:
//! a profiler that listens through NVTX ([`nvtx`]), and a [`Recording`] of this
//! program, to which a device adds what its streams did. Without either, a range
//! costs the read of one byte.

mod blocks;
mod chrome;
pub mod nvtx;
mod recording;
mod summary;

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use serde::{Serialize, Serializer};

pub use blocks::{BlockTimes, Stage, block_times};
pub use chrome::write_chrome_trace;
pub(crate) use recording::begun as recording_begun;
#[cfg(test)]
pub(crate) use recording::tests::{alone, own};
pub use recording::{Recording, Span, Track};
pub use summary::{Total, totals};

/// What a stretch of time is spent on. The names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Range {
    /// Weights on their way to where they are computed with.
    Load,
    /// One chunk of a prompt, through all layers.
    Prefill,
    /// One token of each sequence of a batch, through all layers.
    DecodeStep,
    /// One transformer block.
    Layer,
    /// Norm, the projections to Q, K and V, and their rotation.
    Projections,
    /// New rows of K and V into the cache; on a device, V to the host.
    Push,
    /// Attention; of a decode step it holds the four below.
    Attention,
    /// Scores of all keys, and their softmax.
    Score,
    /// Which rows of V are used.
    Select,
    /// On a device: which of these rows are hot, and slots for the others.
    HotRows,
    /// Rows of V fetched, weighed and added up.
    Gather,
    /// Earlier rows of V of a prompt back to the device, for its next chunk.
    Fetch,
    /// The output projection and the MLP.
    Mlp,
    /// The last norm and the logits.
    Logits,
}

impl Range {
    /// Every range; outer ones come before those inside them.
    pub const ALL: [Self; 14] = [
        Self::Load,
        Self::Prefill,
        Self::DecodeStep,
        Self::Layer,
        Self::Projections,
        Self::Push,
        Self::Attention,
        Self::Score,
        Self::Select,
        Self::HotRows,
        Self::Gather,
        Self::Fetch,
        Self::Mlp,
        Self::Logits,
    ];

    /// The name that profilers show.
    pub fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Prefill => "prefill",
            Self::DecodeStep => "decode step",
            Self::Layer => "layer",
            Self::Projections => "projections",
            Self::Push => "push",
            Self::Attention => "attention",
            Self::Score => "score",
            Self::Select => "select",
            Self::HotRows => "hot rows",
            Self::Gather => "gather",
            Self::Fetch => "fetch",
            Self::Mlp => "mlp",
            Self::Logits => "logits",
        }
    }

    /// How deep the range lies inside others.
    pub fn depth(self) -> usize {
        match self {
            Self::Load | Self::Prefill | Self::DecodeStep => 0,
            Self::Layer | Self::Logits => 1,
            Self::Projections | Self::Push | Self::Attention | Self::Mlp => 2,
            Self::Score | Self::Select | Self::HotRows | Self::Gather | Self::Fetch => 3,
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Range {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A profiler listens.
const NVTX: u8 = 1;
/// A recording runs.
const RECORDING: u8 = 2;
/// Nobody has looked for a profiler yet.
const UNKNOWN: u8 = 4;

thread_local! {
    /// The innermost range of this thread.
    static CURRENT: Cell<Option<Place>> = const { Cell::new(None) };
}

/// A range that is not over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub range: Range,
    /// The layer that it belongs to.
    pub layer: Option<usize>,
    /// When it began.
    pub start: Instant,
}

/// Which sinks there are.
static SINKS: AtomicU8 = AtomicU8::new(UNKNOWN);

/// Marks what runs on this thread until the guard is dropped.
#[inline]
pub fn range(range: Range) -> Guard {
    guard(range, None)
}

/// As [`range`], for [`Range::Layer`] number `index`.
#[inline]
pub fn layer(index: usize) -> Guard {
    guard(Range::Layer, Some(index))
}

#[inline]
fn guard(range: Range, layer: Option<usize>) -> Guard {
    let open = match SINKS.load(Ordering::Relaxed) {
        0 => None,
        _ => open(range, layer),
    };
    Guard {
        open,
        of_this_thread: PhantomData,
    }
}

/// The innermost range of this thread, where anybody listens.
pub(crate) fn current() -> Option<Place> {
    CURRENT.try_with(Cell::get).ok().flatten()
}

/// Looks for the profiler at the first range of the process.
#[cold]
fn open(range: Range, layer: Option<usize>) -> Option<Open> {
    let mut sinks = SINKS.load(Ordering::Relaxed);
    if sinks & UNKNOWN != 0 {
        let listens = if nvtx::listens() { NVTX } else { 0 };
        SINKS.fetch_or(listens, Ordering::Relaxed);
        sinks = SINKS.fetch_and(!UNKNOWN, Ordering::Relaxed) & !UNKNOWN;
    }
    if sinks == 0 {
        return None;
    }
    let around = current();
    // What lies inside a layer belongs to it.
    let layer = layer.or(around.and_then(|around| around.layer));
    let in_nvtx = sinks & NVTX != 0 && nvtx::push(range, layer);
    let start = Instant::now();
    let place = Place {
        range,
        layer,
        start,
    };
    let _ = CURRENT.try_with(|current| current.set(Some(place)));
    Some(Open {
        place,
        around,
        in_nvtx,
    })
}

/// A range that is not over. It ends on the thread where it began.
#[must_use = "the range ends when this is dropped"]
#[derive(Debug)]
pub struct Guard {
    open: Option<Open>,
    of_this_thread: PhantomData<*const ()>,
}

#[derive(Debug)]
struct Open {
    place: Place,
    around: Option<Place>,
    in_nvtx: bool,
}

impl Open {
    #[cold]
    fn close(&self) {
        let _ = CURRENT.try_with(|current| current.set(self.around));
        if self.in_nvtx {
            nvtx::pop();
        }
        recording::note(self.place);
    }
}

impl Drop for Guard {
    #[inline]
    fn drop(&mut self) {
        if let Some(open) = &self.open {
            open.close();
        }
    }
}
