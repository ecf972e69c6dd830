//! Large pinned host memory that grows.

use bytemuck::Pod;

use super::host_range::HostRange;
use super::slice::check_copy;
use super::sys::{cuMemcpyDtoHAsync_v2, cuMemcpyHtoDAsync_v2};
use super::{Context, DeviceSlice, DeviceSliceMut, DriverError, Result, Stream};

/// Page-locked host memory that kernels and copies reach at one address range.
///
/// Offsets are bytes. Device work runs in the order of its stream; that the
/// host looks only at what no stream is writing is the caller's to see to, and
/// otherwise the bytes are unspecified.
#[derive(Debug)]
pub struct PinnedArena {
    context: Context,
    range: HostRange,
    capacity: usize,
}

// SAFETY: the memory is owned, and only ever copied as plain bytes.
unsafe impl Send for PinnedArena {}
// SAFETY: a shared reference allows copies alone; see the type's documentation.
unsafe impl Sync for PinnedArena {}

impl PinnedArena {
    /// Reserves addresses for `capacity` bytes and takes no memory yet.
    ///
    /// # Errors
    /// [`DriverError::PinnedMemory`] if not even the addresses can be had.
    pub fn reserve(context: &Context, capacity: usize) -> Result<Self> {
        Ok(Self {
            context: context.clone(),
            range: HostRange::reserve(context, capacity)?,
            capacity,
        })
    }

    /// Pins memory until `wanted` bytes are, or until no more can be had but
    /// `needed` bytes are. Returns how many are. New memory is zero.
    ///
    /// # Errors
    /// [`DriverError::PinnedMemory`] if fewer than `needed` bytes can be had,
    /// with the limits and advice; what has been pinned by then stays.
    /// [`DriverError::InvalidArgument`] if more is wanted than was reserved;
    /// [`DriverError::DeviceLost`].
    pub fn grow(&mut self, wanted: usize, needed: usize) -> Result<usize> {
        if wanted > self.capacity || needed > wanted {
            return Err(DriverError::argument(format!(
                "pinning {wanted} bytes, at least {needed}, of {} reserved",
                self.capacity
            )));
        }
        let _current = self.context.enter()?;
        while self.range.len() < wanted {
            match self.range.pin_more(wanted) {
                Err(error @ DriverError::PinnedMemory { .. }) if self.range.len() >= needed => {
                    log::warn!("pinned less than wanted, but enough for now: {error}");
                    break;
                }
                result => result?,
            }
            log::debug!("{} of {} bytes are pinned", self.len(), self.capacity);
        }
        Ok(self.len())
    }

    /// Bytes that are pinned.
    pub fn len(&self) -> usize {
        self.range.len().min(self.capacity)
    }

    /// Whether nothing is pinned.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that it can grow to.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Where kernels find byte 0: the same from the first growth on.
    pub fn address(&self) -> u64 {
        self.range.device()
    }

    /// Queues a copy of `source` to the bytes from `offset` on.
    ///
    /// # Errors
    /// [`DriverError::InvalidArgument`] if they exceed what is pinned;
    /// [`DriverError::DeviceLost`] or [`DriverError::Call`].
    pub fn copy_from_device<T: Pod>(
        &mut self,
        offset: usize,
        source: DeviceSlice<'_, T>,
        stream: &Stream,
    ) -> Result<()> {
        let bytes = self.check(offset, source.len(), size_of::<T>(), stream)?;
        check_copy(source.context(), stream, 0, 0)?;
        let _current = self.context.enter()?;
        for (done, part) in self.range.pieces(offset, bytes) {
            let from = source.address() + done as u64;
            let to = self.range.host(offset + done);
            // SAFETY: both ranges have this length, and freeing either waits.
            let result = unsafe { cuMemcpyDtoHAsync_v2(to, from, part, stream.raw()) };
            self.context.check("cuMemcpyDtoHAsync", result)?;
        }
        Ok(())
    }

    /// Queues a copy of the bytes from `offset` on to `target`.
    ///
    /// # Errors
    /// As [`PinnedArena::copy_from_device`].
    pub fn copy_to_device<T: Pod>(
        &self,
        offset: usize,
        target: &mut DeviceSliceMut<'_, T>,
        stream: &Stream,
    ) -> Result<()> {
        let bytes = self.check(offset, target.len(), size_of::<T>(), stream)?;
        check_copy(target.context(), stream, 0, 0)?;
        let _current = self.context.enter()?;
        for (done, part) in self.range.pieces(offset, bytes) {
            let from = self.range.host(offset + done);
            let to = target.address() + done as u64;
            // SAFETY: both ranges have this length, and freeing either waits.
            let result = unsafe { cuMemcpyHtoDAsync_v2(to, from, part, stream.raw()) };
            self.context.check("cuMemcpyHtoDAsync", result)?;
        }
        Ok(())
    }

    /// Copies the bytes from `offset` on to `target`, after what `stream` holds.
    ///
    /// # Errors
    /// As [`PinnedArena::copy_from_device`].
    pub fn read<T: Pod>(&self, offset: usize, target: &mut [T], stream: &Stream) -> Result<()> {
        let bytes = self.check(offset, target.len(), size_of::<T>(), stream)?;
        stream.synchronize()?;
        let from = self.range.host(offset).cast::<u8>();
        // SAFETY: `bytes` are pinned from `offset` on, and `target` is as long.
        unsafe { from.copy_to_nonoverlapping(target.as_mut_ptr().cast(), bytes) };
        Ok(())
    }

    /// Copies `source` to the bytes from `offset` on, after what `stream` holds.
    ///
    /// # Errors
    /// As [`PinnedArena::copy_from_device`].
    pub fn write<T: Pod>(&mut self, offset: usize, source: &[T], stream: &Stream) -> Result<()> {
        let bytes = self.check(offset, source.len(), size_of::<T>(), stream)?;
        stream.synchronize()?;
        let to = self.range.host(offset).cast::<u8>();
        // SAFETY: `bytes` are pinned from `offset` on, and `source` is as long.
        unsafe { to.copy_from_nonoverlapping(source.as_ptr().cast(), bytes) };
        Ok(())
    }

    /// The size of `count` elements of `size` bytes, if they are pinned from
    /// `offset` on.
    fn check(&self, offset: usize, count: usize, size: usize, stream: &Stream) -> Result<usize> {
        check_copy(&self.context, stream, count, count)?;
        let bytes = count.saturating_mul(size);
        match offset.checked_add(bytes) {
            Some(end) if end <= self.len() => Ok(bytes),
            _ => Err(DriverError::argument(format!(
                "{count} elements of {size} bytes from byte {offset} of {} pinned",
                self.len()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::DeviceBuffer;
    use crate::driver::testing::{context, stream};

    const MIB: usize = 1 << 20;

    #[test]
    fn grows_and_keeps_its_content_and_address() {
        let stream = stream();
        let mut arena = PinnedArena::reserve(stream.context(), 64 * MIB).unwrap();
        assert_eq!((arena.len(), arena.capacity()), (0, 64 * MIB));
        assert_eq!(arena.grow(MIB + 1, 0).unwrap() % (64 << 10), 0);
        let address = arena.address();
        arena.write(0, b"content", &stream).unwrap();
        assert!(arena.grow(32 * MIB, 32 * MIB).unwrap() >= 32 * MIB);
        assert_eq!(arena.address(), address);
        let mut seen = [0u8; 9];
        arena.read(0, &mut seen, &stream).unwrap();
        assert_eq!(&seen, b"content\0\0");
    }

    #[test]
    fn copies_cross_the_ends_of_growth() {
        let stream = stream();
        let mut arena = PinnedArena::reserve(stream.context(), 4 * MIB).unwrap();
        for step in 1..=4 {
            arena.grow(step * MIB, step * MIB).unwrap();
        }
        let host: Vec<u32> = (0..MIB as u32 / 2).collect();
        let buffer = DeviceBuffer::from_host(&stream, "numbers", &host).unwrap();
        let offset = MIB / 2;
        arena
            .copy_from_device(offset, buffer.as_slice(), &stream)
            .unwrap();
        let mut seen = vec![0u32; host.len()];
        arena.read(offset, &mut seen, &stream).unwrap();
        assert!(seen == host);
        let mut back = DeviceBuffer::<u32>::zeroed(&stream, "back", host.len()).unwrap();
        arena
            .copy_to_device(offset, &mut back.as_mut_slice(), &stream)
            .unwrap();
        assert!(back.to_host(&stream).unwrap() == host);
        let beyond = arena.copy_from_device(3 * MIB, buffer.as_slice(), &stream);
        let message = beyond.unwrap_err().to_string();
        assert!(message.contains("from byte 3145728"), "{message}");
    }

    #[test]
    fn a_smaller_grant_is_used_if_it_suffices() {
        let context = context();
        let mut arena = PinnedArena::reserve(&context, 2 * MIB).unwrap();
        arena.grow(MIB, MIB).unwrap();
        context.faults().arm(1);
        assert_eq!(arena.grow(2 * MIB, MIB).unwrap(), MIB);
        context.faults().arm(1);
        let error = arena.grow(2 * MIB, 2 * MIB).unwrap_err();
        let DriverError::PinnedMemory {
            wanted, granted, ..
        } = error
        else {
            panic!("{error}");
        };
        assert_eq!((wanted, granted), (2 * MIB as u64, MIB as u64));
        // What was pinned still serves, and so does a later try.
        assert_eq!(arena.len(), MIB);
        assert_eq!(arena.grow(2 * MIB, 2 * MIB).unwrap(), 2 * MIB);
    }

    #[test]
    fn growing_beyond_the_reservation_is_refused() {
        let mut arena = PinnedArena::reserve(&context(), MIB).unwrap();
        for (wanted, needed) in [(MIB + 1, 0), (MIB / 2, MIB)] {
            let message = arena.grow(wanted, needed).unwrap_err().to_string();
            assert!(message.contains(&format!("of {MIB} reserved")), "{message}");
        }
        assert!(arena.is_empty());
        let message = PinnedArena::reserve(&context(), usize::MAX).unwrap_err();
        assert!(message.to_string().contains("overflows"), "{message}");
    }
}
