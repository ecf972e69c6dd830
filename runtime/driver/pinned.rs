//! Small host buffers that the device copies from and to at full speed.

use std::ffi::c_void;
use std::ops::Range;
use std::ptr::NonNull;

use bytemuck::Pod;

use super::buffer::byte_size;
use super::slice::check_copy;
use super::sys::{
    cuMemFreeHost, cuMemHostAlloc, cuMemcpyDtoHAsync_v2, cuMemcpyHtoDAsync_v2, outcome,
};
use super::{Context, DeviceSlice, DeviceSliceMut, DriverError, Event, HostLimits, Result, Stream};

/// Visible to every context, and to kernels.
pub(super) const PORTABLE_MAPPED: u32 = 1 | 2;

/// `len` elements of page-locked host memory, for staging.
///
/// Copies are queued and return at once. The buffer remembers the last of them:
/// looking at the elements, and dropping the buffer, wait for it. So neither
/// side can see a copy half done. Copies that a graph captures are beyond that,
/// and are for [`super::PinnedArena`].
#[derive(Debug)]
pub struct PinnedBuffer<T> {
    memory: NonNull<T>,
    len: usize,
    /// Reached when the last copy queued is done.
    copied: Event,
    context: Context,
}

// SAFETY: the memory is owned, and plain numbers.
unsafe impl<T: Send> Send for PinnedBuffer<T> {}
// SAFETY: a shared reference gives no access to the memory.
unsafe impl<T: Sync> Sync for PinnedBuffer<T> {}

impl<T: Pod> PinnedBuffer<T> {
    /// Allocates `len` elements of zero bytes; `what` names them in errors.
    ///
    /// # Errors
    /// [`DriverError::PinnedMemory`]; [`DriverError::DeviceLost`].
    pub fn new(context: &Context, what: &str, len: usize) -> Result<Self> {
        let bytes = byte_size::<T>(what, len)?;
        let copied = Event::new(context)?;
        let _current = context.enter()?;
        let memory = if bytes == 0 {
            NonNull::dangling()
        } else {
            allocate_pinned(context, what, bytes)?.cast()
        };
        Ok(Self {
            memory,
            len,
            copied,
            context: context.clone(),
        })
    }

    /// The elements, once the last copy is done.
    ///
    /// # Errors
    /// [`DriverError::DeviceLost`] or [`DriverError::Call`].
    pub fn as_slice(&mut self) -> Result<&[T]> {
        self.as_mut_slice().map(|elements| &*elements)
    }

    /// The elements to write, once the last copy is done.
    ///
    /// # Errors
    /// [`DriverError::DeviceLost`] or [`DriverError::Call`].
    pub fn as_mut_slice(&mut self) -> Result<&mut [T]> {
        self.copied.synchronize()?;
        // SAFETY: `len` elements, initialised, not used by the device any more;
        // a new copy needs this borrow to end first.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr(), self.len) })
    }

    /// Queues a copy of elements `range` to `target`.
    ///
    /// # Errors
    /// [`DriverError::InvalidArgument`] if the range exceeds the buffer or the
    /// lengths differ; [`DriverError::DeviceLost`] or [`DriverError::Call`].
    pub fn copy_to_device(
        &mut self,
        range: Range<usize>,
        target: &mut DeviceSliceMut<'_, T>,
        stream: &Stream,
    ) -> Result<()> {
        check_copy(target.context(), stream, range.len(), target.len())?;
        let start = self.element(&range)?;
        self.queued(range, stream, |bytes| {
            // SAFETY: both ranges have this length; `copied` guards the host's.
            let result = unsafe {
                cuMemcpyHtoDAsync_v2(target.address(), start.cast(), bytes, stream.raw())
            };
            stream.context().check("cuMemcpyHtoDAsync", result)
        })
    }

    /// Queues a copy of `source` to elements `range`.
    ///
    /// # Errors
    /// As [`PinnedBuffer::copy_to_device`].
    pub fn copy_from_device(
        &mut self,
        range: Range<usize>,
        source: DeviceSlice<'_, T>,
        stream: &Stream,
    ) -> Result<()> {
        check_copy(source.context(), stream, source.len(), range.len())?;
        let start = self.element(&range)?;
        self.queued(range, stream, |bytes| {
            // SAFETY: both ranges have this length; `copied` guards the host's.
            let result = unsafe {
                cuMemcpyDtoHAsync_v2(start.cast(), source.address(), bytes, stream.raw())
            };
            stream.context().check("cuMemcpyDtoHAsync", result)
        })
    }

    /// Queues `copy` of the bytes of `range` after the last copy, and notes it.
    fn queued(
        &mut self,
        range: Range<usize>,
        stream: &Stream,
        copy: impl FnOnce(usize) -> Result<()>,
    ) -> Result<()> {
        check_copy(&self.context, stream, range.len(), range.len())?;
        if range.is_empty() {
            return Ok(());
        }
        let _current = self.context.enter()?;
        // So that one event covers copies on several streams.
        stream.wait(&self.copied)?;
        copy(range.len() * size_of::<T>())?;
        stream.record(&self.copied).inspect_err(|_| {
            // The event does not cover this copy: wait for it here.
            let _ = stream.synchronize();
        })
    }

    fn element(&self, range: &Range<usize>) -> Result<*mut T> {
        if range.start > range.end || range.end > self.len {
            return Err(DriverError::argument(format!(
                "elements {}..{} of a pinned buffer of {}",
                range.start, range.end, self.len
            )));
        }
        // SAFETY: checked to lie within the allocation.
        Ok(unsafe { self.memory.as_ptr().add(range.start) })
    }
}

impl<T> PinnedBuffer<T> {
    /// Elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<T> Drop for PinnedBuffer<T> {
    fn drop(&mut self) {
        if self.len * size_of::<T>() == 0 {
            return;
        }
        // A copy that is under way must not find the memory gone. On a lost
        // device none is.
        if let Err(error) = self.copied.synchronize()
            && !matches!(error, DriverError::DeviceLost { .. })
        {
            return;
        }
        let memory = self.memory.as_ptr().cast();
        // SAFETY: allocated by `new` and used no more.
        self.context.release(|| unsafe { cuMemFreeHost(memory) });
    }
}

/// `bytes` of zeroed page-locked memory. `context` is current.
pub(super) fn allocate_pinned(
    context: &Context,
    what: &str,
    bytes: usize,
) -> Result<NonNull<c_void>> {
    let refused = |reason: String| DriverError::PinnedMemory {
        wanted: bytes as u64,
        granted: 0,
        reason: format!(
            "{what}: {reason}; {}",
            HostLimits::read().advice(bytes as u64)
        ),
    };
    if context.allocation_must_fail() {
        return Err(refused("out of memory".to_owned()));
    }
    let mut memory: *mut c_void = std::ptr::null_mut();
    // SAFETY: writes one address.
    let result = unsafe { cuMemHostAlloc(&mut memory, bytes, PORTABLE_MAPPED) };
    outcome("cuMemHostAlloc", result).map_err(|failure| match failure.code {
        code if code.is_sticky() => context.fail(failure),
        _ => refused(failure.to_string()),
    })?;
    let memory = NonNull::new(memory).ok_or_else(|| refused("no address".to_owned()))?;
    // SAFETY: `bytes` were allocated here, and nothing else knows them yet.
    unsafe { memory.as_ptr().cast::<u8>().write_bytes(0, bytes) };
    Ok(memory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::DeviceBuffer;
    use crate::driver::testing::stream;

    #[test]
    fn copies_go_both_ways_and_reading_waits() {
        let stream = stream();
        let len = 1 << 20;
        let mut pinned = PinnedBuffer::<u32>::new(stream.context(), "staging", len).unwrap();
        assert!(pinned.as_slice().unwrap().iter().all(|&x| x == 0));
        for (i, x) in pinned.as_mut_slice().unwrap().iter_mut().enumerate() {
            *x = i as u32;
        }
        let mut device = DeviceBuffer::<u32>::new(stream.context(), "numbers", len).unwrap();
        let mut all = device.as_mut_slice();
        pinned.copy_to_device(0..len, &mut all, &stream).unwrap();
        // Writing waits for the copy that reads.
        pinned.as_mut_slice().unwrap().fill(0);
        let half = device.slice(len / 2..len).unwrap();
        pinned.copy_from_device(0..len / 2, half, &stream).unwrap();
        let seen = pinned.as_slice().unwrap();
        assert_eq!(seen[0], (len / 2) as u32);
        assert_eq!(seen[len / 2 - 1], (len - 1) as u32);
        assert!(seen[len / 2..].iter().all(|&x| x == 0));
    }

    #[test]
    fn ranges_are_checked_and_faults_reported() {
        let stream = stream();
        let mut pinned = PinnedBuffer::<u8>::new(stream.context(), "staging", 8).unwrap();
        let mut device = DeviceBuffer::<u8>::zeroed(&stream, "bytes", 16).unwrap();
        let mut all = device.as_mut_slice();
        let error = pinned.copy_to_device(0..16, &mut all, &stream).unwrap_err();
        assert!(error.to_string().contains("pinned buffer of 8"), "{error}");
        let error = pinned.copy_to_device(0..8, &mut all, &stream).unwrap_err();
        assert_eq!(error.to_string(), "a copy of 8 elements into 16");
        stream.context().faults().arm(1);
        let error = PinnedBuffer::<u8>::new(stream.context(), "staging", 8).unwrap_err();
        assert!(matches!(error, DriverError::PinnedMemory { .. }), "{error}");
    }
}
