//! A CUDA device: kernels of `gpu-kernels`, compiled into the program.
//!
//! Weights, K and V are bf16; the residual stream and every accumulation are
//! `f32`. All work is queued on one stream, in order, and waited for when
//! results are read.

mod activation;
mod append;
mod bandwidth;
mod block_marks;
mod block_spans;
mod decode;
mod far_values;
mod geometry;
mod inputs;
mod kernels;
mod kv_cache;
mod load;
mod memory;
mod misses;
mod near_values;
mod operations;
mod products;
mod rope;
mod stage;
mod step;
#[cfg(test)]
mod tests;
mod timeline;
mod totals;
mod tuning;
mod uploads;

use std::sync::{Arc, Mutex};

use half::bf16;

use crate::driver::{Context, Device, DeviceBuffer, DeviceSlice, LaunchClock, Stream};
use crate::{Error, Result};

pub use activation::Activation;
pub use kv_cache::CudaKvCache;
pub use load::Matrix;
pub use rope::RopeTable;
pub use step::StepMemo;
pub use tuning::{
    Choices, PrefillKernel, ProductKernel, ProductRule, ScanChoice, ScanKernel, Tuning,
};

pub(super) use geometry::check;
pub(super) use memory::{PREFILL_CHUNK, memory};

use kernels::Kernels;
use stage::Stages;
use step::StepState;
use timeline::{COMPUTE, Timeline};
use uploads::Uploads;

/// A device, with the kernels loaded.
pub struct Cuda {
    // Freed before the stream that they are used on.
    uploads: Uploads,
    /// The decode step that is running.
    step: Mutex<Option<StepState>>,
    stages: Mutex<Stages>,
    /// Held by the pass that computes.
    turn: Mutex<()>,
    timeline: Arc<Timeline>,
    kernels: Kernels,
    stream: Stream,
    context: Context,
}

impl Cuda {
    /// Opens `device` and compiles the kernels for it.
    ///
    /// # Errors
    /// [`crate::Error::Device`], for example where the driver is too old for the kernels.
    pub fn new(device: Device) -> Result<Self> {
        Self::with_tuning(device, &Tuning::embedded()?)
    }

    /// As [`Self::new`], with the kernels that `tuning` names.
    ///
    /// # Errors
    /// As [`Self::new`]; [`crate::Error::InvalidArgument`] where the table has no kernels for the
    /// device.
    pub fn with_tuning(device: Device, tuning: &Tuning) -> Result<Self> {
        Self::open(Context::new(device)?, tuning, None)
    }

    /// As [`Self::with_tuning`], with a clock for the launches of all kernels. It has nothing to tell
    /// where launches do not overlap: before compute capability 9.0.
    ///
    /// # Errors
    /// As [`Self::with_tuning`].
    pub fn with_launch_clock(device: Device, tuning: &Tuning) -> Result<(Self, Arc<LaunchClock>)> {
        let context = Context::new(device)?;
        let clock = Arc::new(LaunchClock::new(&context)?);
        let backend = Self::open(context, tuning, Some(clock.clone()))?;
        Ok((backend, clock))
    }

    fn open(context: Context, tuning: &Tuning, clock: Option<Arc<LaunchClock>>) -> Result<Self> {
        let timeline = Arc::new(Timeline::default());
        Ok(Self {
            uploads: Uploads::default(),
            step: Mutex::new(None),
            stages: Mutex::new(Stages::new(&context, timeline.clone())?),
            turn: Mutex::new(()),
            timeline,
            kernels: Kernels::load(&context, tuning, clock)?,
            stream: Stream::new(&context)?,
            context,
        })
    }

    /// Queues kernels where a timeline may note them.
    fn launch<E: Into<Error>>(
        &self,
        kernels: impl FnOnce() -> std::result::Result<(), E>,
    ) -> Result<()> {
        let work = || kernels().map_err(Into::into);
        self.timeline.around(COMPUTE, &self.stream, work)
    }

    /// Calls `work` with `x` rounded to bf16.
    fn with_halves(
        &self,
        x: &Activation,
        work: impl FnOnce(DeviceSlice<'_, bf16>) -> Result<()>,
    ) -> Result<()> {
        if let Some(halves) = x.halves()? {
            return work(halves);
        }
        let mut halves = DeviceBuffer::new(&self.context, "rounded activations", x.len())?;
        let rows = &self.kernels.rows;
        rows.narrow(&halves.as_mut_slice(), x.floats()?, &self.stream)?;
        work(halves.as_slice())
    }
}
