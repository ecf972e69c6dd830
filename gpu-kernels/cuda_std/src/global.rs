//! Addresses in device memory, or in host memory that the device sees.

use core::marker::PhantomData;

use crate::{Element, platform};

/// An address of elements that a kernel reads. Indices count elements of `T`.
#[repr(transparent)]
pub struct Global<T>(platform::GlobalAddress, PhantomData<*const T>);

/// An address of elements that a kernel reads and writes. Indices count elements of `T`.
#[repr(transparent)]
pub struct GlobalMut<T>(platform::GlobalAddress, PhantomData<*mut T>);

impl<T> Clone for Global<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Global<T> {}

impl<T> Clone for GlobalMut<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for GlobalMut<T> {}

impl<T: Element> Global<T> {
    /// The address that a table in device memory holds.
    #[inline(always)]
    pub fn from_address(address: u64) -> Self {
        Self(platform::global_from_address(address), PhantomData)
    }

    /// The address as a number, as tables hold it.
    #[inline(always)]
    pub fn address(self) -> u64 {
        platform::global_to_address(self.0)
    }

    /// The address `count` elements further on.
    #[inline(always)]
    pub fn offset(self, count: usize) -> Self {
        Self(
            platform::global_offset(self.0, count.wrapping_mul(size_of::<T>())),
            PhantomData,
        )
    }

    /// The same address, as one of another element type. An element of 16 bytes is read by one
    /// access, and its address must be a multiple of 16.
    #[inline(always)]
    pub fn cast<U: Element>(self) -> Global<U> {
        Global(self.0, PhantomData)
    }

    /// Element `index`.
    #[inline(always)]
    #[track_caller]
    pub fn read(self, index: usize) -> T {
        platform::global_read(self.offset(index).0)
    }

    /// Has the 128 bytes around the address, which is one that may be read, brought into the L2 cache.
    /// Nothing is read: what is there may change until it is.
    #[inline(always)]
    #[track_caller]
    pub fn prefetch(self) {
        platform::global_prefetch(self.0);
    }

    /// Element `index`, read once and not to be kept in the L1 cache. No thread of the launch may
    /// write it.
    #[inline(always)]
    #[track_caller]
    pub fn read_streaming(self, index: usize) -> T {
        platform::global_read_streaming(self.offset(index).0)
    }

    pub(crate) fn raw(self) -> platform::GlobalAddress {
        self.0
    }
}

impl<T: Element> GlobalMut<T> {
    /// The address that a table in device memory holds.
    #[inline(always)]
    pub fn from_address(address: u64) -> Self {
        Self(platform::global_from_address(address), PhantomData)
    }

    /// The same address, for reading.
    #[inline(always)]
    pub fn as_const(self) -> Global<T> {
        Global(self.0, PhantomData)
    }

    /// The address `count` elements further on.
    #[inline(always)]
    pub fn offset(self, count: usize) -> Self {
        Self(self.as_const().offset(count).0, PhantomData)
    }

    /// The same address, as one of another element type, see [`Global::cast`].
    #[inline(always)]
    pub fn cast<U: Element>(self) -> GlobalMut<U> {
        GlobalMut(self.0, PhantomData)
    }

    /// Element `index`.
    #[inline(always)]
    #[track_caller]
    pub fn read(self, index: usize) -> T {
        self.as_const().read(index)
    }

    /// Sets element `index`.
    #[inline(always)]
    #[track_caller]
    pub fn write(self, index: usize, value: T) {
        platform::global_write(self.offset(index).0, value);
    }

    pub(crate) fn raw(self) -> platform::GlobalAddress {
        self.0
    }
}
