//! A CUDA device: kernels of `gpu-kernels`, compiled into the program.
//!
//! Weights, K and V are bf16; the residual stream and every accumulation are
//! `f32`. All work is queued on one stream, in order, and waited for when
//! results are read.

mod activation;
mod append;
mod bandwidth;
mod decode;
mod far_values;
mod geometry;
mod inputs;
mod kernels;
mod kv_cache;
mod load;
mod near_values;
mod operations;
mod rope;
mod stage;
mod step;
#[cfg(test)]
mod tests;
mod totals;
mod tuning;
mod uploads;

use std::sync::Mutex;

use half::bf16;

use crate::Result;
use crate::driver::{Context, Device, DeviceBuffer, DeviceSlice, Stream};

pub use activation::Activation;
pub use kv_cache::CudaKvCache;
pub use load::Matrix;
pub use rope::RopeTable;
pub use step::StepMemo;
pub use tuning::{Choices, PrefillKernel, ProductKernel, ProductRule, ScanKernel, Tuning};

use kernels::Kernels;
use stage::Stages;
use step::StepState;
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
        let context = Context::new(device)?;
        Ok(Self {
            uploads: Uploads::default(),
            step: Mutex::new(None),
            stages: Mutex::new(Stages::new(&context)?),
            turn: Mutex::new(()),
            kernels: Kernels::load(&context, tuning)?,
            stream: Stream::new(&context)?,
            context,
        })
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
