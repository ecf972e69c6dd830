//! Addresses in the shared memory of a block.

use core::marker::PhantomData;

use crate::{Element, platform};

/// An address of elements in shared memory. Indices count elements of `T`.
#[repr(transparent)]
pub struct Shared<T>(platform::SharedAddress, PhantomData<*mut T>);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Shared<T> {}

impl<T: Element> Shared<T> {
    #[doc(hidden)]
    #[inline(always)]
    pub fn from_raw(address: platform::SharedAddress) -> Self {
        Self(address, PhantomData)
    }

    /// The address `count` elements further on.
    #[inline(always)]
    pub fn offset(self, count: u32) -> Self {
        Self(
            platform::shared_offset(self.0, count.wrapping_mul(size_of::<T>() as u32)),
            PhantomData,
        )
    }

    /// The same address, as one of another element type. An element of 16 bytes is moved by one
    /// access, and its address must be a multiple of 16.
    #[inline(always)]
    pub fn cast<U: Element>(self) -> Shared<U> {
        Shared(self.0, PhantomData)
    }

    /// Element `index`.
    #[inline(always)]
    #[track_caller]
    pub fn read(self, index: u32) -> T {
        platform::shared_read(self.offset(index).0)
    }

    /// Sets element `index`.
    #[inline(always)]
    #[track_caller]
    pub fn write(self, index: u32, value: T) {
        platform::shared_write(self.offset(index).0, value);
    }

    pub(crate) fn raw(self) -> platform::SharedAddress {
        self.0
    }
}

/// The shared memory whose size the launch gives, from `byte_offset` on. It starts at a multiple
/// of 128 bytes: a bulk copy to anywhere else is cut in pieces that ask for memory twice.
#[inline(always)]
#[track_caller]
pub fn dynamic_shared<T: Element>(byte_offset: u32) -> Shared<T> {
    Shared::from_raw(platform::shared_offset(
        platform::dynamic_shared(),
        byte_offset,
    ))
}

/// As [`dynamic_shared`], for a kernel that keeps swizzled boxes there: the memory starts at a
/// multiple of [`crate::bulk_copy::BOX_ALIGNMENT`] bytes.
#[inline(always)]
#[track_caller]
pub fn swizzled_shared<T: Element>(byte_offset: u32) -> Shared<T> {
    Shared::from_raw(platform::shared_offset(
        platform::swizzled_shared(),
        byte_offset,
    ))
}

/// Declares an array in static shared memory and gives its address: `shared_array![f32; 32]`.
///
/// The array is aligned to 16 bytes and holds nothing in particular until written. Declare it in
/// the kernel itself, outside any loop, and hand it to the functions that the kernel calls: each
/// inlined copy of the declaration would be an array of its own.
#[macro_export]
macro_rules! shared_array {
    ($element:ty; $length:expr) => {
        $crate::Shared::<$element>::from_raw($crate::static_shared!(
            $length as usize * ::core::mem::size_of::<$element>(),
            ::core::mem::size_of::<$element>()
        ))
    };
}

/// The address of a new static shared array of that many bytes.
#[cfg(target_arch = "nvptx64")]
#[doc(hidden)]
#[macro_export]
macro_rules! static_shared {
    ($bytes:expr, $element_bytes:expr) => {{
        let address: u32;
        // SAFETY: the assembly declares an array, in a scope of its own, and reads its address.
        // It is not `pure`: two arrays of equal size must not be merged.
        unsafe {
            ::core::arch::asm!(
                "{{ .shared .align 16 .b8 shared_{line}_{column}[{bytes}];",
                "mov.u32 {address}, shared_{line}_{column}; }}",
                line = const ::core::line!(),
                column = const ::core::column!(),
                bytes = const $bytes,
                address = out(reg32) address,
                options(nomem, nostack, preserves_flags),
            );
        }
        address
    }};
}

/// The address of a static shared array of that many bytes, one for each place in the source.
#[cfg(not(target_arch = "nvptx64"))]
#[doc(hidden)]
#[macro_export]
macro_rules! static_shared {
    ($bytes:expr, $element_bytes:expr) => {
        $crate::emulation::intrinsics::static_shared(
            (::core::file!(), ::core::line!(), ::core::column!()),
            $bytes,
            $element_bytes,
        )
    };
}
