//! Queues of work on a device.

use super::sys::{
    CUstream, cuCtxGetStreamPriorityRange, cuEventRecord, cuStreamCreateWithPriority,
    cuStreamDestroy_v2, cuStreamSynchronize, cuStreamWaitEvent,
};
use super::{Context, Event, Result};

/// `CU_STREAM_NON_BLOCKING`: no hidden order with the host program's default stream.
const NON_BLOCKING: u32 = 1;

/// Which of two streams the device serves first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// As any stream.
    #[default]
    Normal,
    /// Before all others.
    High,
}

/// A queue: what is put into it runs in that order, and in no order with other
/// streams except through events. Any thread may use it.
#[derive(Debug)]
pub struct Stream {
    context: Context,
    raw: RawStream,
}

/// The driver's handle.
#[derive(Clone, Copy, Debug)]
struct RawStream(CUstream);

// SAFETY: the driver takes streams from any thread at any time.
unsafe impl Send for RawStream {}
// SAFETY: as above.
unsafe impl Sync for RawStream {}

impl Stream {
    /// A queue of normal priority.
    ///
    /// # Errors
    /// [`crate::driver::DriverError::DeviceLost`] or
    /// [`crate::driver::DriverError::Call`], as for all methods here.
    pub fn new(context: &Context) -> Result<Self> {
        Self::with_priority(context, Priority::Normal)
    }

    /// A queue of the given priority.
    ///
    /// # Errors
    /// As [`Stream::new`].
    pub fn with_priority(context: &Context, priority: Priority) -> Result<Self> {
        let _current = context.enter()?;
        let (mut least, mut greatest) = (0, 0);
        // SAFETY: writes two integers.
        let result = unsafe { cuCtxGetStreamPriorityRange(&mut least, &mut greatest) };
        context.check("cuCtxGetStreamPriorityRange", result)?;
        let number = match priority {
            Priority::Normal => least,
            Priority::High => greatest,
        };
        let mut stream: CUstream = std::ptr::null_mut();
        // SAFETY: writes one handle.
        let result = unsafe { cuStreamCreateWithPriority(&mut stream, NON_BLOCKING, number) };
        context.check("cuStreamCreate", result)?;
        Ok(Self {
            context: context.clone(),
            raw: RawStream(stream),
        })
    }

    /// The context that it is a queue of.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Waits for everything queued so far.
    ///
    /// # Errors
    /// [`crate::driver::DriverError::DeviceLost`] if some of it faulted.
    pub fn synchronize(&self) -> Result<()> {
        let _current = self.context.enter()?;
        // SAFETY: the stream lives as long as `self`.
        let result = unsafe { cuStreamSynchronize(self.raw()) };
        self.context.check("cuStreamSynchronize", result)
    }

    /// Marks this point of the queue in `event`.
    ///
    /// # Errors
    /// As [`Stream::new`].
    pub fn record(&self, event: &Event) -> Result<()> {
        let _current = self.context.enter()?;
        // SAFETY: both handles live as long as their owners.
        let result = unsafe { cuEventRecord(event.raw(), self.raw()) };
        self.context.check("cuEventRecord", result)
    }

    /// Holds what is queued from now on until the point that `event` marks has
    /// been reached. An event that was never recorded holds nothing.
    ///
    /// # Errors
    /// As [`Stream::new`].
    pub fn wait(&self, event: &Event) -> Result<()> {
        #[cfg(all(test, feature = "gpu-tests"))]
        if !super::testing::sleeps::are_waited_for() {
            return Ok(());
        }
        let _current = self.context.enter()?;
        // SAFETY: both handles live as long as their owners.
        let result = unsafe { cuStreamWaitEvent(self.raw(), event.raw(), 0) };
        self.context.check("cuStreamWaitEvent", result)
    }

    /// The driver's handle, to queue something.
    pub(super) fn raw(&self) -> CUstream {
        #[cfg(all(test, feature = "gpu-tests"))]
        super::testing::sleeps::before(self);
        self.raw.0
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let stream = self.raw();
        // Work that is queued still runs.
        // SAFETY: the handle is used no more.
        self.context
            .release(|| unsafe { cuStreamDestroy_v2(stream) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::DeviceBuffer;
    use crate::driver::testing::context;

    #[test]
    fn events_order_streams_and_measure_them() {
        let context = context();
        let first = Stream::new(&context).unwrap();
        let second = Stream::with_priority(&context, Priority::High).unwrap();
        let (start, end) = (
            Event::timing(&context).unwrap(),
            Event::timing(&context).unwrap(),
        );
        let len = 64 << 20;
        let mut source = DeviceBuffer::<u8>::zeroed(&first, "source", len).unwrap();
        let mut target = DeviceBuffer::<u8>::zeroed(&first, "target", len).unwrap();
        first.synchronize().unwrap();
        first.record(&start).unwrap();
        source.as_mut_slice().fill_bytes(7, &first).unwrap();
        first.record(&end).unwrap();
        second.wait(&end).unwrap();
        let mut all = target.as_mut_slice();
        all.copy_from(source.as_slice(), &second).unwrap();
        let seen = target.to_host(&second).unwrap();
        assert!(seen.iter().all(|&x| x == 7));
        assert!(end.is_reached().unwrap());
        assert!(end.milliseconds_since(&start).unwrap() >= 0.0);
    }

    #[test]
    fn an_event_that_was_never_recorded_holds_nothing() {
        let context = context();
        let stream = Stream::new(&context).unwrap();
        let event = Event::new(&context).unwrap();
        assert!(event.is_reached().unwrap());
        event.synchronize().unwrap();
        stream.wait(&event).unwrap();
        stream.synchronize().unwrap();
    }

    #[test]
    fn events_without_time_do_not_measure() {
        let context = context();
        let stream = Stream::new(&context).unwrap();
        let (start, end) = (Event::new(&context).unwrap(), Event::new(&context).unwrap());
        stream.record(&start).unwrap();
        stream.record(&end).unwrap();
        stream.synchronize().unwrap();
        let error = end.milliseconds_since(&start).unwrap_err();
        assert!(error.to_string().contains("(400)"), "{error}");
    }
}
