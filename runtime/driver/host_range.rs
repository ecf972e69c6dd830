//! A range of host addresses that is filled with pinned memory by and by.
//!
//! `cuMemHostAlloc` takes pages one by one on one thread. Here the addresses
//! are reserved whole, and memory comes in chunks: several threads touch a
//! chunk's huge pages, then the driver pins them. That is several times faster,
//! and a chunk that cannot be had leaves the others in use.

use std::ffi::c_void;
use std::mem;
use std::ptr::NonNull;
use std::thread;

use memmap2::{Advice, MmapMut, MmapOptions};

use super::pinned::{PORTABLE_MAPPED, allocate_pinned};
use super::sys::{
    Code, cuMemFreeHost, cuMemHostGetDevicePointer_v2, cuMemHostRegister_v2, cuMemHostUnregister,
    outcome,
};
use super::{Context, DriverError, HostLimits, Result};

const HUGE_PAGE: usize = 2 << 20;

/// A multiple of the page size of every supported system.
const PAGE: usize = 64 << 10;

/// Bytes that are pinned in one go.
const CHUNK: usize = 256 << 20;

/// More threads than this do not fault pages in faster.
const MAX_THREADS: usize = 16;

/// See the module.
#[derive(Debug)]
pub(super) struct HostRange {
    context: Context,
    backing: Backing,
    /// Where each pinned piece ends; they follow one another from 0.
    ends: Vec<usize>,
}

#[derive(Debug)]
enum Backing {
    /// Addresses of this process, which the device uses too.
    Reserved { map: MmapMut, start: NonNull<u8> },
    /// Memory of the driver, all at once: for devices that reach registered
    /// memory at addresses of their own, which need not be one range.
    Allocated { start: NonNull<u8>, device: u64 },
}

impl HostRange {
    /// Reserves `capacity` bytes of addresses.
    pub(super) fn reserve(context: &Context, capacity: usize) -> Result<Self> {
        let refused = |reason: String| refusal(capacity, 0, reason);
        // One huge page to align the start, one to round the end.
        let padded = capacity.checked_add(2 * HUGE_PAGE);
        let padded = padded.ok_or_else(|| refused("the size overflows".to_owned()))?;
        let mut map = MmapOptions::new()
            .len(padded)
            .no_reserve_swap()
            .map_anon()
            .map_err(|e| refused(e.to_string()))?;
        // Without huge pages it works as well, only slower.
        let _ = map.advise(Advice::HugePage);
        let unaligned = map.as_mut_ptr();
        // SAFETY: the map is longer than what is skipped.
        let start = unsafe { unaligned.add(unaligned.align_offset(HUGE_PAGE)) };
        let start = NonNull::new(start).ok_or_else(|| refused("no address".to_owned()))?;
        Ok(Self {
            context: context.clone(),
            backing: Backing::Reserved { map, start },
            ends: Vec::new(),
        })
    }

    /// Pins at most one more chunk towards `wanted` bytes in all, which are no
    /// more than were reserved. The context is current.
    pub(super) fn pin_more(&mut self, wanted: usize) -> Result<()> {
        let len = self.len();
        let Backing::Reserved { start, .. } = self.backing else {
            let reason = "memory of this device's driver cannot grow".to_owned();
            return Err(refusal(wanted, len, reason));
        };
        if !self.context.device().host_addresses {
            return self.allocate(wanted);
        }
        let bytes = (wanted - len).min(CHUNK).next_multiple_of(PAGE);
        let limits = HostLimits::read();
        if limits.spare() < bytes as u64 || self.context.allocation_must_fail() {
            return Err(refusal(wanted, len, limits.advice(wanted as u64)));
        }
        // SAFETY: within the map, which is longer than `wanted` by more than a page.
        let chunk = unsafe { start.add(len) };
        touch(chunk, bytes);
        // SAFETY: the pages are mapped until `drop`, which unregisters them first.
        let result = unsafe { cuMemHostRegister_v2(chunk.as_ptr().cast(), bytes, PORTABLE_MAPPED) };
        match outcome("cuMemHostRegister", result) {
            Ok(()) => self.ends.push(len + bytes),
            Err(failure) if failure.code.is_sticky() => return Err(self.context.fail(failure)),
            Err(failure) if len == 0 && registering_is_refused(failure.code) => {
                return self.allocate(wanted);
            }
            Err(failure) => {
                let reason = format!("{failure}; {}", limits.advice(wanted as u64));
                return Err(refusal(wanted, len, reason));
            }
        }
        Ok(())
    }

    /// Takes all memory from the driver instead. Nothing is pinned yet.
    fn allocate(&mut self, bytes: usize) -> Result<()> {
        let memory = allocate_pinned(&self.context, "arena", bytes)?;
        let mut device = 0;
        // SAFETY: writes one address.
        let result = unsafe { cuMemHostGetDevicePointer_v2(&mut device, memory.as_ptr(), 0) };
        let found = self.context.check("cuMemHostGetDevicePointer", result);
        self.backing = Backing::Allocated {
            start: memory.cast(),
            device,
        };
        found?;
        self.ends.push(bytes);
        Ok(())
    }

    /// Bytes that are pinned.
    pub(super) fn len(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// The host's address of byte `offset`, which is at most [`HostRange::len`].
    pub(super) fn host(&self, offset: usize) -> *mut c_void {
        let (Backing::Reserved { start, .. } | Backing::Allocated { start, .. }) = self.backing;
        start.as_ptr().wrapping_add(offset).cast()
    }

    /// The device's address of byte 0.
    pub(super) fn device(&self) -> u64 {
        match self.backing {
            Backing::Reserved { start, .. } => start.as_ptr() as u64,
            Backing::Allocated { device, .. } => device,
        }
    }

    /// Cuts `bytes` from `offset` on where a registration ends, since no copy
    /// may cross that. Yields the start of each piece from `offset`, and its length.
    pub(super) fn pieces(
        &self,
        offset: usize,
        bytes: usize,
    ) -> impl Iterator<Item = (usize, usize)> + '_ {
        let first = self.ends.partition_point(|&end| end <= offset);
        let mut done = 0;
        self.ends[first..].iter().map_while(move |&end| {
            let piece = (done, bytes.min(end - offset) - done);
            done += piece.1;
            (piece.1 != 0).then_some(piece)
        })
    }
}

impl Drop for HostRange {
    fn drop(&mut self) {
        // A copy that is under way must not find the memory gone.
        let idle = self.context.is_idle();
        match &mut self.backing {
            Backing::Reserved { map, .. } if !idle => {
                // Leaked, with its pages pinned, rather than pulled from under the device.
                if let Ok(empty) = MmapMut::map_anon(0) {
                    mem::forget(mem::replace(map, empty));
                }
            }
            Backing::Reserved { start, .. } => {
                let mut from = 0;
                for &end in &self.ends {
                    let piece = start.as_ptr().wrapping_add(from).cast();
                    from = end;
                    // SAFETY: registered by `pin_more` from here, and idle.
                    self.context
                        .release(|| unsafe { cuMemHostUnregister(piece) });
                }
            }
            Backing::Allocated { start, .. } if idle => {
                let memory = start.as_ptr().cast();
                // SAFETY: allocated by `allocate`, and idle.
                self.context.release(|| unsafe { cuMemFreeHost(memory) });
            }
            Backing::Allocated { .. } => {}
        }
    }
}

fn registering_is_refused(code: Code) -> bool {
    matches!(code, Code::NOT_SUPPORTED | Code::NOT_PERMITTED)
}

pub(super) fn refusal(wanted: usize, granted: usize, reason: String) -> DriverError {
    DriverError::PinnedMemory {
        wanted: wanted as u64,
        granted: granted as u64,
        reason,
    }
}

/// Brings the pages of a fresh chunk into memory, on several threads.
fn touch(chunk: NonNull<u8>, bytes: usize) {
    let threads = thread::available_parallelism().map_or(1, |n| n.get().min(MAX_THREADS));
    let share = bytes.div_ceil(threads).next_multiple_of(HUGE_PAGE);
    let address = chunk.as_ptr() as usize;
    thread::scope(|scope| {
        for from in (0..bytes).step_by(share) {
            let part = address + from;
            let part_bytes = share.min(bytes - from);
            let work = move || touch_part(part, part_bytes);
            // A thread that cannot be had is done without.
            if thread::Builder::new().spawn_scoped(scope, work).is_err() {
                touch_part(part, part_bytes);
            }
        }
    });
}

fn touch_part(address: usize, bytes: usize) {
    for page in (0..bytes).step_by(4 << 10) {
        let byte = (address + page) as *mut u8;
        // SAFETY: within the chunk, which is mapped, writable, and not in use yet.
        unsafe { byte.write_volatile(0) };
    }
}
