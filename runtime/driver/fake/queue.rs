//! Streams, which capture what they get or pass it on; events; graphs.
#![allow(non_snake_case)]

use std::ffi::c_int;
use std::time::Instant;

use super::schedule::{self, Operation};
use super::{CAPTURE_UNSUPPORTED, INVALID_HANDLE, State, Status, give, on_device};

/// A kernel with its shape and the bytes of its arguments.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub kernel: String,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub shared_bytes: u32,
    pub arguments: Vec<Vec<u8>>,
}

/// A stream.
#[derive(Default)]
pub(super) struct Queue {
    capturing: Option<Vec<Call>>,
    /// Something was done that ends the capture in an error.
    invalid: bool,
}

super::symbols! {
    cuStreamCreateWithPriority cuStreamDestroy_v2 cuStreamSynchronize cuStreamWaitEvent
    cuStreamBeginCapture_v2 cuStreamEndCapture cuCtxSynchronize
    cuEventCreate cuEventDestroy_v2 cuEventRecord cuEventQuery cuEventSynchronize
    cuEventElapsedTime
    cuGraphInstantiateWithFlags cuGraphDestroy cuGraphLaunch cuGraphExecDestroy
}

fn queue(state: &mut State, stream: usize) -> Result<&mut Queue, u32> {
    state.queues.get_mut(&stream).ok_or(INVALID_HANDLE)
}

/// Runs or captures a kernel.
pub(super) fn submit(state: &mut State, device: i32, stream: usize, call: Call) -> Status {
    match &mut queue(state, stream)?.capturing {
        Some(calls) => {
            calls.push(call);
            Ok(())
        }
        None => schedule::submit(state, device, stream, Operation::Kernel(call)),
    }
}

/// Refuses what cannot be captured here, and with it the capture.
pub(super) fn not_capturing(state: &mut State, stream: usize) -> Status {
    let queue = queue(state, stream)?;
    if queue.capturing.is_none() {
        return Ok(());
    }
    queue.invalid = true;
    Err(CAPTURE_UNSUPPORTED)
}

extern "C" fn cuCtxSynchronize() -> u32 {
    on_device(|state, _| schedule::drain(state))
}

extern "C" fn cuStreamCreateWithPriority(stream: *mut usize, flags: u32, priority: c_int) -> u32 {
    on_device(|state, _| {
        if flags != 1 || !(-5..=0).contains(&priority) {
            return Err(super::INVALID_VALUE);
        }
        let handle = state.handle();
        state.queues.insert(handle, Queue::default());
        give(stream, handle);
        Ok(())
    })
}

extern "C" fn cuStreamDestroy_v2(stream: usize) -> u32 {
    on_device(|state, _| state.queues.remove(&stream).map(drop).ok_or(INVALID_HANDLE))
}

extern "C" fn cuStreamSynchronize(stream: usize) -> u32 {
    on_device(|state, _| {
        not_capturing(state, stream)?;
        schedule::finish_stream(state, stream)
    })
}

extern "C" fn cuStreamWaitEvent(stream: usize, event: usize, _flags: u32) -> u32 {
    on_device(|state, device| {
        state.events.get(&event).ok_or(INVALID_HANDLE)?;
        queue(state, stream)?;
        schedule::wait(state, device, stream, event)
    })
}

extern "C" fn cuStreamBeginCapture_v2(stream: usize, mode: c_int) -> u32 {
    on_device(|state, _| {
        assert_eq!(mode, 1, "thread-local");
        not_capturing(state, stream)?;
        queue(state, stream)?.capturing = Some(Vec::new());
        Ok(())
    })
}

extern "C" fn cuStreamEndCapture(stream: usize, graph: *mut usize) -> u32 {
    on_device(|state, _| {
        give(graph, 0);
        let queue = queue(state, stream)?;
        let calls = queue.capturing.take().ok_or(401u32)?;
        if std::mem::take(&mut queue.invalid) {
            return Err(901);
        }
        let handle = state.handle();
        state.graphs.insert(handle, calls);
        give(graph, handle);
        Ok(())
    })
}

extern "C" fn cuEventCreate(event: *mut usize, flags: u32) -> u32 {
    on_device(|state, _| {
        let handle = state.handle();
        state.events.insert(handle, (flags & 2 == 0, None));
        give(event, handle);
        Ok(())
    })
}

extern "C" fn cuEventDestroy_v2(event: usize) -> u32 {
    on_device(|state, _| state.events.remove(&event).map(drop).ok_or(INVALID_HANDLE))
}

extern "C" fn cuEventRecord(event: usize, stream: usize) -> u32 {
    on_device(|state, device| {
        not_capturing(state, stream)?;
        state.events.get_mut(&event).ok_or(INVALID_HANDLE)?.1 = Some(Instant::now());
        schedule::record(state, device, stream, event)
    })
}

extern "C" fn cuEventQuery(event: usize) -> u32 {
    cuEventSynchronize(event)
}

extern "C" fn cuEventSynchronize(event: usize) -> u32 {
    on_device(|state, _| {
        state.events.get(&event).ok_or(INVALID_HANDLE)?;
        schedule::finish_event(state, event)
    })
}

extern "C" fn cuEventElapsedTime(milliseconds: *mut f32, start: usize, end: usize) -> u32 {
    on_device(|state, _| {
        let time = |event: &usize| match state.events.get(event) {
            Some(&(true, Some(time))) => Ok(time),
            _ => Err(INVALID_HANDLE),
        };
        let elapsed = time(&end)?.saturating_duration_since(time(&start)?);
        give(milliseconds, elapsed.as_secs_f32() * 1e3);
        Ok(())
    })
}

extern "C" fn cuGraphInstantiateWithFlags(exec: *mut usize, graph: usize, _flags: u64) -> u32 {
    on_device(|state, _| {
        let calls = state.graphs.get(&graph).cloned().ok_or(INVALID_HANDLE)?;
        let handle = state.handle();
        state.graphs.insert(handle, calls);
        give(exec, handle);
        Ok(())
    })
}

extern "C" fn cuGraphDestroy(graph: usize) -> u32 {
    on_device(|state, _| state.graphs.remove(&graph).map(drop).ok_or(INVALID_HANDLE))
}

extern "C" fn cuGraphExecDestroy(exec: usize) -> u32 {
    cuGraphDestroy(exec)
}

extern "C" fn cuGraphLaunch(exec: usize, stream: usize) -> u32 {
    on_device(|state, device| {
        not_capturing(state, stream)?;
        let calls = state.graphs.get(&exec).cloned().ok_or(INVALID_HANDLE)?;
        let mut calls = calls.into_iter().map(Operation::Kernel);
        calls.try_for_each(|call| schedule::submit(state, device, stream, call))
    })
}
