//! Allocations, and copies that stay within them.
#![allow(non_snake_case)]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::Cell;
use std::ffi::c_void;

use super::machine::MEMORY;
use super::queue::not_capturing;
use super::schedule::{self, Operation};
use super::{INVALID_VALUE, OUT_OF_MEMORY, State, Status, give, on_device};

/// An address outside all memory: a fault that ends the device.
const ILLEGAL_ADDRESS: u32 = 700;

thread_local! {
    /// What pinning answers on this thread, 0 if it does what it can.
    static PINNING: Cell<u32> = const { Cell::new(0) };
}

/// Makes all pinning of this thread fail with `code`; 0 ends that.
pub(crate) fn refuse_pinning(code: u32) {
    PINNING.set(code);
}

fn may_pin() -> Status {
    match PINNING.get() {
        0 => Ok(()),
        code => Err(code),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Device,
    Pinned,
    /// The host's own memory, registered.
    Registered,
}

pub(super) struct Allocation {
    kind: Kind,
    bytes: u64,
    device: i32,
}

super::symbols! {
    cuMemGetInfo_v2 cuMemAlloc_v2 cuMemFree_v2 cuMemHostAlloc cuMemFreeHost
    cuMemHostRegister_v2 cuMemHostUnregister cuMemHostGetDevicePointer_v2
    cuMemcpyHtoDAsync_v2 cuMemcpyDtoHAsync_v2 cuMemcpyDtoDAsync_v2 cuMemsetD8Async
}

/// Whether the device reaches all of the range in one piece of memory.
pub(super) fn check_device(state: &mut State, device: i32, start: u64, bytes: u64) -> Status {
    let inside = state
        .memory
        .iter()
        .any(|(&base, allocation)| base <= start && start + bytes <= base + allocation.bytes);
    if inside {
        return Ok(());
    }
    state.faults.insert(device, ILLEGAL_ADDRESS);
    Err(ILLEGAL_ADDRESS)
}

/// All memory: addresses, and the bytes from there on.
pub(super) fn contents(state: &State) -> impl Iterator<Item = (u64, &[u8])> {
    state.memory.iter().map(|(&start, allocation)| {
        let bytes = allocation.bytes as usize;
        // SAFETY: the allocation has these bytes, and nothing runs beside a launch.
        (start, unsafe {
            std::slice::from_raw_parts(start as *const u8, bytes)
        })
    })
}

/// A host range is in one piece of pinned memory or touches none.
fn check_host(state: &State, start: u64, bytes: u64) -> Status {
    let crosses = state.memory.iter().any(|(&base, allocation)| {
        let end = base + allocation.bytes;
        let apart = start + bytes <= base || end <= start;
        let within = base <= start && start + bytes <= end;
        !apart && !within
    });
    if crosses { Err(INVALID_VALUE) } else { Ok(()) }
}

/// Whether the device reaches host memory by itself, and so may do it later.
fn is_pinned(state: &State, address: u64) -> bool {
    state.memory.iter().any(|(&base, allocation)| {
        allocation.kind != Kind::Device && (base..base + allocation.bytes).contains(&address)
    })
}

fn copy_of(to: u64, from: u64, bytes: usize) -> Operation {
    Operation::Copy { to, from, bytes }
}

fn used(state: &State, device: i32) -> u64 {
    let of_device = |a: &&Allocation| a.kind == Kind::Device && a.device == device;
    state
        .memory
        .values()
        .filter(of_device)
        .map(|a| a.bytes)
        .sum()
}

fn layout(bytes: u64) -> Result<Layout, u32> {
    Layout::from_size_align(bytes as usize, 256).map_err(|_| OUT_OF_MEMORY)
}

fn allocate(state: &mut State, device: i32, kind: Kind, bytes: usize) -> Result<u64, u32> {
    if bytes == 0 {
        return Err(INVALID_VALUE);
    }
    let bytes = bytes as u64;
    if bytes > MEMORY - used(state, device) {
        return Err(OUT_OF_MEMORY);
    }
    // SAFETY: the size is not 0.
    let start = unsafe { alloc_zeroed(layout(bytes)?) } as u64;
    let allocation = Allocation {
        kind,
        bytes,
        device,
    };
    state.memory.insert(start, allocation);
    Ok(start)
}

fn free(state: &mut State, kind: Kind, start: u64) -> Status {
    schedule::drain(state)?;
    let allocation = state.memory.remove(&start).ok_or(INVALID_VALUE)?;
    if allocation.kind != kind {
        return Err(INVALID_VALUE);
    }
    // SAFETY: allocated by `allocate` with this layout, and removed just now.
    unsafe { dealloc(start as *mut u8, layout(allocation.bytes)?) };
    Ok(())
}

extern "C" fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> u32 {
    on_device(|state, device| {
        give(free, (MEMORY - used(state, device)) as usize);
        give(total, MEMORY as usize);
        Ok(())
    })
}

extern "C" fn cuMemAlloc_v2(address: *mut u64, bytes: usize) -> u32 {
    on_device(|state, device| {
        give(address, allocate(state, device, Kind::Device, bytes)?);
        Ok(())
    })
}

extern "C" fn cuMemFree_v2(address: u64) -> u32 {
    on_device(|state, _| free(state, Kind::Device, address))
}

extern "C" fn cuMemHostAlloc(address: *mut u64, bytes: usize, _flags: u32) -> u32 {
    on_device(|state, device| {
        may_pin()?;
        give(address, allocate(state, device, Kind::Pinned, bytes)?);
        Ok(())
    })
}

extern "C" fn cuMemFreeHost(address: u64) -> u32 {
    on_device(|state, _| free(state, Kind::Pinned, address))
}

extern "C" fn cuMemHostRegister_v2(start: u64, bytes: usize, _flags: u32) -> u32 {
    on_device(|state, device| {
        may_pin()?;
        let bytes = bytes as u64;
        if bytes == 0 || !(start | bytes).is_multiple_of(4096) {
            return Err(INVALID_VALUE);
        }
        let overlaps =
            |(&base, a): (&u64, &Allocation)| start < base + a.bytes && base < start + bytes;
        if state.memory.iter().any(overlaps) {
            return Err(712);
        }
        let kind = Kind::Registered;
        let allocation = Allocation {
            kind,
            bytes,
            device,
        };
        state.memory.insert(start, allocation);
        Ok(())
    })
}

extern "C" fn cuMemHostUnregister(start: u64) -> u32 {
    on_device(|state, _| {
        schedule::drain(state)?;
        match state.memory.remove(&start) {
            Some(allocation) if allocation.kind == Kind::Registered => Ok(()),
            _ => Err(713),
        }
    })
}

extern "C" fn cuMemHostGetDevicePointer_v2(device: *mut u64, host: u64, _flags: u32) -> u32 {
    give(device, host);
    0
}

/// Copies after both ends were checked.
pub(super) fn copy(to: u64, from: u64, bytes: usize) -> Status {
    // SAFETY: both ranges lie in allocations of this length, or the driver
    // module vouches for them.
    unsafe { std::ptr::copy(from as *const u8, to as *mut u8, bytes) };
    Ok(())
}

extern "C" fn cuMemcpyHtoDAsync_v2(
    to: u64,
    from: *const c_void,
    bytes: usize,
    stream: usize,
) -> u32 {
    on_device(|state, device| {
        not_capturing(state, stream)?;
        check_device(state, device, to, bytes as u64)?;
        check_host(state, from as u64, bytes as u64)?;
        if is_pinned(state, from as u64) {
            return schedule::submit(state, device, stream, copy_of(to, from as u64, bytes));
        }
        // SAFETY: the driver module passes `bytes` bytes.
        let bytes = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), bytes) }.to_vec();
        schedule::submit(state, device, stream, Operation::Write { to, bytes })
    })
}

extern "C" fn cuMemcpyDtoHAsync_v2(to: *mut c_void, from: u64, bytes: usize, stream: usize) -> u32 {
    on_device(|state, device| {
        not_capturing(state, stream)?;
        check_device(state, device, from, bytes as u64)?;
        check_host(state, to as u64, bytes as u64)?;
        schedule::submit(state, device, stream, copy_of(to as u64, from, bytes))?;
        match is_pinned(state, to as u64) {
            true => Ok(()),
            false => schedule::finish_stream(state, stream),
        }
    })
}

extern "C" fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: usize) -> u32 {
    on_device(|state, device| {
        not_capturing(state, stream)?;
        check_device(state, device, from, bytes as u64)?;
        check_device(state, device, to, bytes as u64)?;
        schedule::submit(state, device, stream, copy_of(to, from, bytes))
    })
}

extern "C" fn cuMemsetD8Async(to: u64, byte: u8, bytes: usize, stream: usize) -> u32 {
    on_device(|state, device| {
        not_capturing(state, stream)?;
        check_device(state, device, to, bytes as u64)?;
        schedule::submit(state, device, stream, Operation::Fill { to, byte, bytes })
    })
}
