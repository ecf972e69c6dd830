//! Atomic operations for the whole device, relaxed where nothing else is said.

use crate::{Element, GlobalMut, Shared, platform};

/// An element that can be changed atomically.
pub trait AtomicElement: Element {
    /// Adds to an element in device memory and gives what it held.
    #[doc(hidden)]
    fn add_global(address: platform::GlobalAddress, value: Self) -> Self;
    /// Adds to an element in shared memory and gives what it held.
    #[doc(hidden)]
    fn add_shared(address: platform::SharedAddress, value: Self) -> Self;
}

macro_rules! atomic_add {
    ($element:ty, $global:ident, $shared:ident) => {
        impl AtomicElement for $element {
            #[inline(always)]
            #[track_caller]
            fn add_global(address: platform::GlobalAddress, value: Self) -> Self {
                platform::$global(address, value)
            }

            #[inline(always)]
            #[track_caller]
            fn add_shared(address: platform::SharedAddress, value: Self) -> Self {
                platform::$shared(address, value)
            }
        }
    };
}

atomic_add!(u32, global_add_u32, shared_add_u32);
atomic_add!(i32, global_add_i32, shared_add_i32);
atomic_add!(u64, global_add_u64, shared_add_u64);
atomic_add!(f32, global_add_f32, shared_add_f32);

impl<T: AtomicElement> GlobalMut<T> {
    /// Adds `value` to element `index` and gives what it held. Integers wrap.
    #[inline(always)]
    #[track_caller]
    pub fn atomic_add(self, index: usize, value: T) -> T {
        T::add_global(self.offset(index).raw(), value)
    }
}

impl<T: AtomicElement> Shared<T> {
    /// Adds `value` to element `index` and gives what it held. Integers wrap.
    #[inline(always)]
    #[track_caller]
    pub fn atomic_add(self, index: u32, value: T) -> T {
        T::add_shared(self.offset(index).raw(), value)
    }
}

impl GlobalMut<u32> {
    /// As [`Self::atomic_add`], and orders blocks: what this thread did before, or knew to be done,
    /// a thread that later does the same to this element knows to be done. A barrier of the block
    /// before it and one after it make that hold from all threads of one block to all of the other.
    #[inline(always)]
    #[track_caller]
    pub fn atomic_add_acquire_release(self, index: usize, value: u32) -> u32 {
        platform::global_add_acquire_release_u32(self.offset(index).raw(), value)
    }

    /// Raises element `index` to at least `value` and gives what it held.
    #[inline(always)]
    #[track_caller]
    pub fn atomic_max(self, index: usize, value: u32) -> u32 {
        platform::global_max_u32(self.offset(index).raw(), value)
    }

    /// Sets element `index` to `new` if it holds `expected`, and gives what it held.
    #[inline(always)]
    #[track_caller]
    pub fn atomic_cas(self, index: usize, expected: u32, new: u32) -> u32 {
        platform::global_cas_u32(self.offset(index).raw(), expected, new)
    }
}

impl Shared<u32> {
    /// Raises element `index` to at least `value` and gives what it held.
    #[inline(always)]
    #[track_caller]
    pub fn atomic_max(self, index: u32, value: u32) -> u32 {
        platform::shared_max_u32(self.offset(index).raw(), value)
    }

    /// Sets element `index` to `new` if it holds `expected`, and gives what it held.
    #[inline(always)]
    #[track_caller]
    pub fn atomic_cas(self, index: u32, expected: u32, new: u32) -> u32 {
        platform::shared_cas_u32(self.offset(index).raw(), expected, new)
    }
}
