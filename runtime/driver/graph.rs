//! Work that is captured once and launched many times.

use super::sys::{
    CUgraph, CUgraphExec, CUstreamCaptureMode, cuGraphDestroy, cuGraphExecDestroy,
    cuGraphInstantiateWithFlags, cuGraphLaunch, cuStreamBeginCapture_v2, cuStreamEndCapture,
};
use super::{Context, DriverError, Result, Stream};

/// A fixed sequence of launches and copies that the device runs as one.
///
/// It holds the addresses and the arguments of the time of its capture.
#[derive(Debug)]
pub struct Graph {
    context: Context,
    raw: RawGraph,
}

/// The driver's handle.
#[derive(Clone, Copy, Debug)]
struct RawGraph(CUgraphExec);

// SAFETY: the driver takes graphs from any thread; `launch` needs `&mut`, since
// it does not take one from two threads at once.
unsafe impl Send for RawGraph {}
// SAFETY: as above.
unsafe impl Sync for RawGraph {}

impl Graph {
    /// Captures what `work` queues on `stream`, and on streams that it makes
    /// wait for `stream` and `stream` wait for again, instead of running it.
    ///
    /// Nothing in `work` may wait on the host, allocate or free: kernels should
    /// have run once before, so that their code is loaded.
    ///
    /// # Errors
    /// What `work` returned; [`DriverError::Call`] if it did what cannot be
    /// captured; [`DriverError::DeviceLost`]. The stream is usable afterwards.
    pub fn capture(stream: &Stream, work: impl FnOnce() -> Result<()>) -> Result<Self> {
        let context = stream.context();
        let _current = context.enter()?;
        let mut capture = Capture::begin(stream)?;
        let worked = work();
        let captured = capture.end();
        // If both failed, `work` is where it went wrong.
        worked.and(captured)?;
        let mut exec: CUgraphExec = std::ptr::null_mut();
        // SAFETY: writes one handle, from a graph that `capture` holds.
        let result = unsafe { cuGraphInstantiateWithFlags(&mut exec, capture.graph, 0) };
        context.check("cuGraphInstantiate", result)?;
        Ok(Self {
            context: context.clone(),
            raw: RawGraph(exec),
        })
    }

    /// Queues the captured work.
    ///
    /// # Safety
    /// As for each captured [`super::Launch`]; all memory that was captured is
    /// still allocated.
    ///
    /// # Errors
    /// [`DriverError::DeviceLost`] or [`DriverError::Call`].
    pub unsafe fn launch(&mut self, stream: &Stream) -> Result<()> {
        if !self.context.same_as(stream.context()) {
            return Err(DriverError::argument(format!(
                "a graph of {} on a stream of {}",
                self.context.device(),
                stream.context().device()
            )));
        }
        let _current = self.context.enter()?;
        // SAFETY: both handles live; the memory is the caller's promise.
        let result = unsafe { cuGraphLaunch(self.raw.0, stream.raw()) };
        self.context.check("cuGraphLaunch", result)
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        let exec = self.raw.0;
        // SAFETY: the handle is used no more, and nothing runs the graph.
        self.context
            .release_when_idle(|| unsafe { cuGraphExecDestroy(exec) });
    }
}

/// A stream that captures. It is ended, and the graph destroyed, in any case.
struct Capture<'s> {
    stream: &'s Stream,
    graph: CUgraph,
    open: bool,
}

impl<'s> Capture<'s> {
    fn begin(stream: &'s Stream) -> Result<Self> {
        // Calls on this thread that would wait or allocate are refused meanwhile.
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream lives as long as its owner.
        let result = unsafe { cuStreamBeginCapture_v2(stream.raw(), mode) };
        stream.context().check("cuStreamBeginCapture", result)?;
        Ok(Self {
            stream,
            graph: std::ptr::null_mut(),
            open: true,
        })
    }

    fn end(&mut self) -> Result<()> {
        self.open = false;
        // SAFETY: writes one handle, null if the capture failed.
        let result = unsafe { cuStreamEndCapture(self.stream.raw(), &mut self.graph) };
        self.stream.context().check("cuStreamEndCapture", result)
    }
}

impl Drop for Capture<'_> {
    fn drop(&mut self) {
        if self.open {
            let _ = self.end();
        }
        if !self.graph.is_null() {
            // SAFETY: the handle is used no more.
            let _ = unsafe { cuGraphDestroy(self.graph) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::testing::{function, stream};
    use crate::driver::{DeviceBuffer, Launch};

    #[test]
    fn captured_work_runs_at_each_launch_and_not_before() {
        let stream = stream();
        let add = function(&stream, "vector_add");
        let step = DeviceBuffer::from_host(&stream, "step", &[1f32, 2.0, 3.0]).unwrap();
        let mut sum = DeviceBuffer::<f32>::zeroed(&stream, "sum", 3).unwrap();
        let total = sum.as_mut_slice();
        let mut graph = Graph::capture(&stream, || {
            let launch = Launch::new(&add, [1, 1, 1], [32, 1, 1])
                .buffer(step.as_slice())
                .buffer_mut(&total)
                .buffer_mut(&total)
                .value(&3u32);
            // SAFETY: three elements, by three threads.
            unsafe { launch.run(&stream) }
        })
        .unwrap();
        assert_eq!(sum.to_host(&stream).unwrap(), [0.0; 3]);
        for _ in 0..5 {
            // SAFETY: both buffers live.
            unsafe { graph.launch(&stream) }.unwrap();
        }
        assert_eq!(sum.to_host(&stream).unwrap(), [5.0, 10.0, 15.0]);
    }

    #[test]
    fn a_failed_capture_leaves_the_stream_usable() {
        let stream = stream();
        let error = Graph::capture(&stream, || Err(DriverError::argument("no"))).unwrap_err();
        assert_eq!(error.to_string(), "no");
        // Waiting on the host cannot be captured.
        let error = Graph::capture(&stream, || stream.synchronize()).unwrap_err();
        assert!(matches!(error, DriverError::Call { .. }), "{error}");
        let panicked = std::panic::catch_unwind(|| Graph::capture(&stream, || panic!("planted")));
        assert!(panicked.is_err());
        let buffer = DeviceBuffer::from_host(&stream, "after", &[1u8]).unwrap();
        assert_eq!(buffer.to_host(&stream).unwrap(), [1]);
    }
}
