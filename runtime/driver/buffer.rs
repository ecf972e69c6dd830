//! Device memory that is owned.

use std::marker::PhantomData;
use std::ops::Range;

use bytemuck::Pod;

use super::sys::{CUdeviceptr, Code, cuMemAlloc_v2, cuMemFree_v2, outcome};
use super::{Context, DeviceSlice, DeviceSliceMut, DriverError, Result, Stream};

/// `len` elements of device memory, freed when dropped.
///
/// Freeing waits for the work that is queued on the device, so a buffer may be
/// dropped while a stream still uses it.
#[derive(Debug)]
pub struct DeviceBuffer<T> {
    context: Context,
    pointer: CUdeviceptr,
    len: usize,
    _elements: PhantomData<T>,
}

impl<T: Pod> DeviceBuffer<T> {
    /// Allocates `len` elements of unspecified content; `what` names them in errors.
    ///
    /// # Errors
    /// [`DriverError::OutOfMemory`] with both sizes; [`DriverError::InvalidArgument`]
    /// if the size overflows; [`DriverError::DeviceLost`].
    pub fn new(context: &Context, what: &str, len: usize) -> Result<Self> {
        let bytes = byte_size::<T>(what, len)?;
        let mut buffer = Self {
            context: context.clone(),
            pointer: 0,
            len,
            _elements: PhantomData,
        };
        let _current = context.enter()?;
        // The driver refuses an allocation of nothing.
        if bytes != 0 {
            buffer.pointer = allocate(context, what, bytes)?;
        }
        Ok(buffer)
    }

    /// Allocates and fills from `host`, and waits for it.
    ///
    /// # Errors
    /// As [`DeviceBuffer::new`].
    pub fn from_host(stream: &Stream, what: &str, host: &[T]) -> Result<Self> {
        let mut buffer = Self::new(stream.context(), what, host.len())?;
        buffer.as_mut_slice().copy_from_host(host, stream)?;
        Ok(buffer)
    }

    /// Allocates `len` elements of zero bytes; the zeroing is queued on `stream`.
    ///
    /// # Errors
    /// As [`DeviceBuffer::new`].
    pub fn zeroed(stream: &Stream, what: &str, len: usize) -> Result<Self> {
        let mut buffer = Self::new(stream.context(), what, len)?;
        buffer.as_mut_slice().fill_bytes(0, stream)?;
        Ok(buffer)
    }

    /// All elements.
    pub fn as_slice(&self) -> DeviceSlice<'_, T> {
        // SAFETY: the memory lives as long as the borrow of `self`.
        unsafe { DeviceSlice::from_raw(&self.context, self.pointer, self.len) }
    }

    /// All elements, to write.
    pub fn as_mut_slice(&mut self) -> DeviceSliceMut<'_, T> {
        // SAFETY: as above, and no one else borrows it.
        unsafe { DeviceSliceMut::from_raw(&self.context, self.pointer, self.len) }
    }

    /// Elements `range`.
    ///
    /// # Errors
    /// [`DriverError::InvalidArgument`] if it exceeds the buffer.
    pub fn slice(&self, range: Range<usize>) -> Result<DeviceSlice<'_, T>> {
        self.as_slice().slice(range)
    }

    /// Elements `range`, to write.
    ///
    /// # Errors
    /// [`DriverError::InvalidArgument`] if it exceeds the buffer.
    pub fn slice_mut(&mut self, range: Range<usize>) -> Result<DeviceSliceMut<'_, T>> {
        self.as_mut_slice().slice(range)
    }

    /// Brings all elements to the host, after what `stream` holds.
    ///
    /// # Errors
    /// [`DriverError::DeviceLost`] or [`DriverError::Call`].
    pub fn to_host(&self, stream: &Stream) -> Result<Vec<T>> {
        let mut host = vec![T::zeroed(); self.len];
        self.as_slice().copy_to_host(&mut host, stream)?;
        Ok(host)
    }
}

impl<T> DeviceBuffer<T> {
    /// Elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The context that the memory belongs to.
    pub fn context(&self) -> &Context {
        &self.context
    }
}

impl<T> Drop for DeviceBuffer<T> {
    fn drop(&mut self) {
        let pointer = self.pointer;
        if pointer != 0 {
            // SAFETY: allocated by `new` and used no more.
            self.context.release(|| unsafe { cuMemFree_v2(pointer) });
        }
    }
}

/// The size of `len` elements.
pub(super) fn byte_size<T>(what: &str, len: usize) -> Result<usize> {
    let bytes = len.checked_mul(size_of::<T>());
    bytes.ok_or_else(|| {
        DriverError::argument(format!(
            "{what}: {len} elements of {} bytes exceed the address space",
            size_of::<T>()
        ))
    })
}

fn allocate(context: &Context, what: &str, bytes: usize) -> Result<CUdeviceptr> {
    if context.allocation_must_fail() {
        return Err(out_of_memory(context, what, bytes));
    }
    let mut pointer: CUdeviceptr = 0;
    // SAFETY: writes one address.
    match outcome("cuMemAlloc", unsafe { cuMemAlloc_v2(&mut pointer, bytes) }) {
        Ok(()) => Ok(pointer),
        Err(failure) if failure.code == Code::OUT_OF_MEMORY => {
            Err(out_of_memory(context, what, bytes))
        }
        Err(failure) => Err(context.fail(failure)),
    }
}

fn out_of_memory(context: &Context, what: &str, bytes: usize) -> DriverError {
    let info = context.memory_info();
    DriverError::OutOfMemory {
        device: context.device().to_string(),
        what: what.to_owned(),
        bytes: bytes as u64,
        free: info.map_or(0, |info| info.free),
        total: context.device().total_bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::testing::{context, stream};

    #[test]
    fn elements_survive_the_round_trip() {
        let stream = stream();
        let host: Vec<u32> = (0..1000).map(|i| i * 7).collect();
        let buffer = DeviceBuffer::from_host(&stream, "numbers", &host).unwrap();
        assert_eq!(buffer.to_host(&stream).unwrap(), host);
    }

    #[test]
    fn an_empty_buffer_is_one_too() {
        let stream = stream();
        let mut buffer = DeviceBuffer::<f32>::new(stream.context(), "nothing", 0).unwrap();
        assert!(buffer.is_empty());
        buffer.as_mut_slice().copy_from_host(&[], &stream).unwrap();
        buffer.as_mut_slice().fill_bytes(1, &stream).unwrap();
        assert_eq!(buffer.to_host(&stream).unwrap(), Vec::<f32>::new());
    }

    #[test]
    fn more_than_the_device_has_is_refused_with_the_sizes() {
        let context = context();
        let total = context.device().total_bytes as usize;
        let error = DeviceBuffer::<u8>::new(&context, "too much", total * 2).unwrap_err();
        let message = error.to_string();
        assert!(
            matches!(error, DriverError::OutOfMemory { .. }),
            "{message}"
        );
        assert!(message.contains("too much"), "{message}");
        assert!(message.contains(&(total * 2).to_string()), "{message}");
        // The context is whole.
        assert!(DeviceBuffer::<u8>::new(&context, "a little", 16).is_ok());
        let overflow = DeviceBuffer::<u64>::new(&context, "far too much", usize::MAX / 2);
        assert!(matches!(overflow, Err(DriverError::InvalidArgument(_))));
    }

    #[test]
    fn an_armed_fault_strikes_one_allocation() {
        let context = context();
        context.faults().arm(2);
        let first = DeviceBuffer::<u8>::new(&context, "first", 16);
        let second = DeviceBuffer::<u8>::new(&context, "second", 16);
        let third = DeviceBuffer::<u8>::new(&context, "third", 16);
        assert!(first.is_ok() && third.is_ok());
        assert!(matches!(second, Err(DriverError::OutOfMemory { .. })));
    }
}
