//! Points in streams, to wait for and to measure between.

use super::sys::{
    CUevent, Code, cuEventCreate, cuEventDestroy_v2, cuEventElapsedTime, cuEventQuery,
    cuEventSynchronize, outcome,
};
use super::{Context, Result};

/// `CU_EVENT_DISABLE_TIMING`: cheaper where only the order matters.
const DISABLE_TIMING: u32 = 2;

/// A point in a stream, set by [`crate::driver::Stream::record`].
#[derive(Debug)]
pub struct Event {
    context: Context,
    raw: RawEvent,
}

/// The driver's handle.
#[derive(Clone, Copy, Debug)]
struct RawEvent(CUevent);

// SAFETY: the driver takes events from any thread at any time.
unsafe impl Send for RawEvent {}
// SAFETY: as above.
unsafe impl Sync for RawEvent {}

impl Event {
    /// An event for order alone.
    ///
    /// # Errors
    /// [`crate::driver::DriverError::DeviceLost`] or
    /// [`crate::driver::DriverError::Call`], as for all methods here.
    pub fn new(context: &Context) -> Result<Self> {
        Self::create(context, DISABLE_TIMING)
    }

    /// An event that notes the time.
    ///
    /// # Errors
    /// As [`Event::new`].
    pub fn timing(context: &Context) -> Result<Self> {
        Self::create(context, 0)
    }

    fn create(context: &Context, flags: u32) -> Result<Self> {
        let _current = context.enter()?;
        let mut event: CUevent = std::ptr::null_mut();
        // SAFETY: writes one handle.
        let result = unsafe { cuEventCreate(&mut event, flags) };
        context.check("cuEventCreate", result)?;
        Ok(Self {
            context: context.clone(),
            raw: RawEvent(event),
        })
    }

    /// Waits on this thread until the point has been reached. An event that was
    /// never recorded has been.
    ///
    /// # Errors
    /// [`crate::driver::DriverError::DeviceLost`] if work before it faulted.
    pub fn synchronize(&self) -> Result<()> {
        let _current = self.context.enter()?;
        // SAFETY: the handle lives as long as `self`.
        let result = unsafe { cuEventSynchronize(self.raw()) };
        self.context.check("cuEventSynchronize", result)
    }

    /// Whether the point has been reached.
    ///
    /// # Errors
    /// As [`Event::synchronize`].
    pub fn is_reached(&self) -> Result<bool> {
        let _current = self.context.enter()?;
        // SAFETY: the handle lives as long as `self`.
        match outcome("cuEventQuery", unsafe { cuEventQuery(self.raw()) }) {
            Ok(()) => Ok(true),
            Err(failure) if failure.code == Code::NOT_READY => Ok(false),
            Err(failure) => Err(self.context.fail(failure)),
        }
    }

    /// Milliseconds from `start` to this event, which both note the time and
    /// have been reached.
    ///
    /// # Errors
    /// [`crate::driver::DriverError::Call`] where they do not or have not.
    pub fn milliseconds_since(&self, start: &Self) -> Result<f32> {
        let _current = self.context.enter()?;
        let mut elapsed = 0.0;
        // SAFETY: writes one number; both handles live as long as their owners.
        let result = unsafe { cuEventElapsedTime(&mut elapsed, start.raw(), self.raw()) };
        self.context.check("cuEventElapsedTime", result)?;
        Ok(elapsed)
    }

    pub(super) fn raw(&self) -> CUevent {
        self.raw.0
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        let event = self.raw();
        // SAFETY: the handle is used no more.
        self.context.release(|| unsafe { cuEventDestroy_v2(event) });
    }
}
