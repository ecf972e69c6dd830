//! Copies to shared memory that one thread starts and a unit of the multiprocessor makes (`cp.async.bulk`, compute
//! capability 9.0).
//!
//! A copy counts down the bytes that a [`Barrier`] expects; whoever waits for that phase sees them.

use crate::mbarrier::Barrier;
use crate::{Element, Global, Shared, platform};

/// Starts a copy of `bytes` contiguous bytes: both addresses and `bytes` are multiples of 16.
#[inline(always)]
#[track_caller]
pub fn copy<T: Element>(destination: Shared<T>, source: Global<T>, bytes: u32, barrier: Barrier) {
    let (destination, source) = (destination.raw(), source.raw());
    platform::bulk_copy(destination, source, bytes, barrier.raw(), false);
}

/// As [`copy`], of what no other block will read: it is the first to leave the L2 cache.
#[inline(always)]
#[track_caller]
pub fn copy_streaming<T: Element>(
    destination: Shared<T>,
    source: Global<T>,
    bytes: u32,
    barrier: Barrier,
) {
    let (destination, source) = (destination.raw(), source.raw());
    platform::bulk_copy(destination, source, bytes, barrier.raw(), true);
}

/// A matrix in device memory and the box of it that one copy moves: a parameter of a kernel, made
/// by the host (`cuTensorMapEncodeTiled`). In a kernel's signature it is written `TensorMap`.
///
/// The box is 64 columns of 16 bits wide. In shared memory its rows take 128 bytes each, and their
/// 16-byte parts are swizzled: part `p` of row `r` lies at `p ^ (r % 8)`. That is the layout in which [`crate::wgmma`]
/// reads tiles. Parts of the box outside the matrix become zero, and count as bytes copied.
#[derive(Clone, Copy)]
pub struct TensorMap(platform::TensorMapHandle);

/// Columns of 16-bit elements in the box of a [`TensorMap`].
pub const BOX_COLUMNS: u32 = 64;

/// Alignment of a box in shared memory: that of the swizzle's pattern.
pub const BOX_ALIGNMENT: u32 = 1024;

impl TensorMap {
    #[doc(hidden)]
    #[inline(always)]
    pub fn from_handle(handle: platform::TensorMapHandle) -> Self {
        Self(handle)
    }

    #[cfg(not(target_arch = "nvptx64"))]
    pub(crate) fn handle(self) -> platform::TensorMapHandle {
        self.0
    }

    /// Starts copying the box whose first element is at a column and a row. `destination` is a
    /// multiple of [`BOX_ALIGNMENT`].
    #[inline(always)]
    #[track_caller]
    pub fn copy<T: Element>(
        &self,
        destination: Shared<T>,
        [column, row]: [u32; 2],
        barrier: Barrier,
    ) {
        let (destination, barrier) = (destination.raw(), barrier.raw());
        platform::tensor_copy(destination, &self.0, [column, row], barrier, false);
    }

    /// As [`TensorMap::copy`], of what no other block will read: it is the first to leave the L2
    /// cache.
    #[inline(always)]
    #[track_caller]
    pub fn copy_streaming<T: Element>(
        &self,
        destination: Shared<T>,
        [column, row]: [u32; 2],
        barrier: Barrier,
    ) {
        let (destination, barrier) = (destination.raw(), barrier.raw());
        platform::tensor_copy(destination, &self.0, [column, row], barrier, true);
    }

    /// Has the map itself brought near, before the first copy needs it.
    #[inline(always)]
    pub fn prefetch(&self) {
        platform::prefetch_tensor_map(&self.0);
    }
}
