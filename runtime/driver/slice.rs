//! Ranges of device memory that are borrowed, and the copies between them.

use std::marker::PhantomData;
use std::ops::Range;

use bytemuck::Pod;

use super::sys::{
    CUdeviceptr, cuMemcpyDtoDAsync_v2, cuMemcpyDtoHAsync_v2, cuMemcpyHtoDAsync_v2, cuMemsetD8Async,
};
use super::{Context, DriverError, Result, Stream};

/// Elements of device memory, to read.
///
/// Copies run in the order of the stream that they are given. That a stream
/// reads what another wrote is the caller's to order, with an event: without
/// one the elements read are unspecified.
#[derive(Clone, Copy, Debug)]
pub struct DeviceSlice<'a, T> {
    context: &'a Context,
    pointer: CUdeviceptr,
    len: usize,
    _elements: PhantomData<&'a [T]>,
}

/// Elements of device memory, to write. See [`DeviceSlice`].
#[derive(Debug)]
pub struct DeviceSliceMut<'a, T> {
    context: &'a Context,
    pointer: CUdeviceptr,
    len: usize,
    _elements: PhantomData<&'a mut [T]>,
}

impl<'a, T: Pod> DeviceSlice<'a, T> {
    /// # Safety
    /// For `'a`, `pointer` is that of `len` elements that `context` can read, or
    /// `len` is 0.
    pub(super) unsafe fn from_raw(context: &'a Context, pointer: CUdeviceptr, len: usize) -> Self {
        Self {
            context,
            pointer,
            len,
            _elements: PhantomData,
        }
    }

    /// Elements `range` of these.
    ///
    /// # Errors
    /// [`DriverError::InvalidArgument`] if it exceeds the slice.
    pub fn slice(self, range: Range<usize>) -> Result<Self> {
        let pointer = offset::<T>(self.pointer, self.len, &range)?;
        Ok(Self {
            pointer,
            len: range.len(),
            ..self
        })
    }

    /// Brings the elements to `host`, after what `stream` holds, and waits for it.
    ///
    /// # Errors
    /// [`DriverError::InvalidArgument`] if the lengths differ;
    /// [`DriverError::DeviceLost`] or [`DriverError::Call`].
    pub fn copy_to_host(self, host: &mut [T], stream: &Stream) -> Result<()> {
        check_copy(self.context, stream, self.len, host.len())?;
        if host.is_empty() {
            return Ok(());
        }
        let _current = self.context.enter()?;
        let bytes = size_of_val(host);
        // SAFETY: both ranges have this length; `host` stays borrowed until the
        // stream has been waited for.
        let result = unsafe {
            cuMemcpyDtoHAsync_v2(host.as_mut_ptr().cast(), self.pointer, bytes, stream.raw())
        };
        self.context.check("cuMemcpyDtoHAsync", result)?;
        stream.synchronize()
    }

    /// The address on the device.
    pub fn address(&self) -> u64 {
        self.pointer
    }

    /// Elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn context(&self) -> &'a Context {
        self.context
    }
}

impl<'a, T: Pod> DeviceSliceMut<'a, T> {
    /// # Safety
    /// As [`DeviceSlice::from_raw`], to write, and nothing else borrows the
    /// elements for `'a`.
    pub(super) unsafe fn from_raw(context: &'a Context, pointer: CUdeviceptr, len: usize) -> Self {
        Self {
            context,
            pointer,
            len,
            _elements: PhantomData,
        }
    }

    /// Elements `range` of these.
    ///
    /// # Errors
    /// [`DriverError::InvalidArgument`] if it exceeds the slice.
    pub fn slice(self, range: Range<usize>) -> Result<Self> {
        let pointer = offset::<T>(self.pointer, self.len, &range)?;
        Ok(Self {
            pointer,
            len: range.len(),
            ..self
        })
    }

    /// Fills the elements from `host`, after what `stream` holds, and waits for it.
    ///
    /// # Errors
    /// As [`DeviceSlice::copy_to_host`].
    pub fn copy_from_host(&mut self, host: &[T], stream: &Stream) -> Result<()> {
        check_copy(self.context, stream, host.len(), self.len)?;
        if host.is_empty() {
            return Ok(());
        }
        let _current = self.context.enter()?;
        let bytes = size_of_val(host);
        // SAFETY: both ranges have this length; `host` stays borrowed until the
        // stream has been waited for.
        let result = unsafe {
            cuMemcpyHtoDAsync_v2(self.pointer, host.as_ptr().cast(), bytes, stream.raw())
        };
        self.context.check("cuMemcpyHtoDAsync", result)?;
        stream.synchronize()
    }

    /// Queues a copy of `source`.
    ///
    /// # Errors
    /// As [`DeviceSlice::copy_to_host`].
    pub fn copy_from(&mut self, source: DeviceSlice<'_, T>, stream: &Stream) -> Result<()> {
        check_copy(self.context, stream, source.len, self.len)?;
        if self.is_empty() {
            return Ok(());
        }
        let _current = self.context.enter()?;
        let bytes = self.len * size_of::<T>();
        // SAFETY: both ranges have this length; freeing either waits for the copy.
        let result =
            unsafe { cuMemcpyDtoDAsync_v2(self.pointer, source.pointer, bytes, stream.raw()) };
        self.context.check("cuMemcpyDtoDAsync", result)
    }

    /// Queues the writing of `byte` to every byte of the elements.
    ///
    /// # Errors
    /// [`DriverError::DeviceLost`] or [`DriverError::Call`].
    pub fn fill_bytes(&mut self, byte: u8, stream: &Stream) -> Result<()> {
        check_copy(self.context, stream, self.len, self.len)?;
        if self.is_empty() {
            return Ok(());
        }
        let _current = self.context.enter()?;
        let bytes = self.len * size_of::<T>();
        // SAFETY: the range has this length; freeing it waits for the fill.
        let result = unsafe { cuMemsetD8Async(self.pointer, byte, bytes, stream.raw()) };
        self.context.check("cuMemsetD8Async", result)
    }

    /// The same elements, to read.
    pub fn as_slice(&self) -> DeviceSlice<'_, T> {
        // SAFETY: `self` borrows the elements.
        unsafe { DeviceSlice::from_raw(self.context, self.pointer, self.len) }
    }

    /// The address on the device.
    pub fn address(&self) -> u64 {
        self.pointer
    }

    /// Elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn context(&self) -> &'a Context {
        self.context
    }
}

/// The address of `range` within `len` elements at `pointer`.
fn offset<T>(pointer: CUdeviceptr, len: usize, range: &Range<usize>) -> Result<CUdeviceptr> {
    if range.start > range.end || range.end > len {
        return Err(DriverError::argument(format!(
            "elements {}..{} of a device buffer of {len}",
            range.start, range.end
        )));
    }
    Ok(pointer + (range.start * size_of::<T>()) as CUdeviceptr)
}

/// Refuses a copy between ranges of different lengths, or on another context's stream.
pub(super) fn check_copy(
    context: &Context,
    stream: &Stream,
    source: usize,
    target: usize,
) -> Result<()> {
    if source != target {
        return Err(DriverError::argument(format!(
            "a copy of {source} elements into {target}"
        )));
    }
    if !context.same_as(stream.context()) {
        return Err(DriverError::argument(format!(
            "memory of {} on a stream of {}",
            context.device(),
            stream.context().device()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::driver::testing::stream;
    use crate::driver::{DeviceBuffer, DriverError};

    #[test]
    fn a_part_is_copied_and_the_rest_left() {
        let stream = stream();
        let source = DeviceBuffer::from_host(&stream, "source", &[1u16, 2, 3, 4, 5]).unwrap();
        let mut target = DeviceBuffer::<u16>::zeroed(&stream, "target", 5).unwrap();
        let mut part = target.slice_mut(1..3).unwrap();
        part.copy_from(source.slice(3..5).unwrap(), &stream)
            .unwrap();
        target
            .slice_mut(4..5)
            .unwrap()
            .fill_bytes(0xff, &stream)
            .unwrap();
        assert_eq!(target.to_host(&stream).unwrap(), [0, 4, 5, 0, 0xffff]);
    }

    #[test]
    fn ranges_and_lengths_are_checked() {
        let stream = stream();
        let mut buffer = DeviceBuffer::<u32>::zeroed(&stream, "numbers", 4).unwrap();
        #[allow(clippy::reversed_empty_ranges)]
        for range in [0..5, 4..5, 3..2, usize::MAX - 1..usize::MAX] {
            let message = buffer.slice(range).unwrap_err().to_string();
            assert!(message.contains("device buffer of 4"), "{message}");
        }
        assert!(buffer.slice(4..4).unwrap().is_empty());
        let short = buffer.as_mut_slice().copy_from_host(&[1, 2, 3], &stream);
        let message = short.unwrap_err().to_string();
        assert_eq!(message, "a copy of 3 elements into 4");
        let long = buffer.as_slice().copy_to_host(&mut [0; 5], &stream);
        assert!(matches!(long, Err(DriverError::InvalidArgument(_))));
    }
}
