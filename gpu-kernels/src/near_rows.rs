//! The rows of V near the keys, brought back from the host after others were forgotten.

use cuda_std::{Element, Float16, Global, GlobalMut, U32x4, bf16, f16, kernel, thread};

use crate::KV_BLOCK;

/// Threads of a block.
pub const THREADS: u32 = 32;

/// The position whose row is at a place of a sequence of `length` positions, if there is one: the
/// first `sinks` positions, then a ring of the last `window`.
#[inline(always)]
fn position_at(place: u32, length: u32, sinks: u32, window: u32) -> Option<u32> {
    if place < sinks {
        return if place < length { Some(place) } else { None };
    }
    // The last position that falls to this place of the ring.
    let offset = (length + window - 1 - (place - sinks)) % window;
    let back = offset + 1;
    if back <= length && length - back >= sinks {
        Some(length - back)
    } else {
        None
    }
}

#[inline(always)]
fn copy_row<T: Float16 + Element>(
    near: GlobalMut<T>,
    table: Global<u64>,
    length: u32,
    (sinks, window): (u32, u32),
    dim: u32,
) {
    let (kv_head, place) = (thread::block_idx_x(), thread::block_idx_y());
    let Some(position) = position_at(place, length, sinks, window) else {
        return;
    };
    let block = Global::<T>::from_address(table.read((position / KV_BLOCK) as usize));
    let row = (kv_head * KV_BLOCK + position % KV_BLOCK) * dim;
    let source = block.offset(row as usize).cast::<U32x4>();
    let target = (kv_head * (sinks + window) + place) * dim;
    let target = near.offset(target as usize).cast::<U32x4>();
    let mut unit = thread::thread_idx_x();
    while unit < dim / 8 {
        target.write(unit as usize, source.read(unit as usize));
        unit += THREADS;
    }
}

macro_rules! kernels {
    ($($name:ident, $element:ty;)*) => {$(
        /// Copies the first `sinks` rows of V, and the last `window` of those after them, to
        /// `near [kv_heads, sinks + window, dim]`, where position `p` past the sinks is row
        /// `sinks + p mod window`. `table` holds the addresses of the blocks of a sequence of
        /// `length` positions; `dim` is a multiple of 8, `window` at least 1.
        ///
        /// Grid `(kv_heads, sinks + window)`, block `(THREADS)`.
        #[kernel(max_threads = THREADS)]
        pub fn $name(
            near: GlobalMut<$element>,
            table: Global<u64>,
            length: u32,
            sinks: u32,
            window: u32,
            dim: u32,
        ) {
            copy_row(near, table, length, (sinks, window), dim);
        }
    )*};
}

kernels! {
    near_rows_bf16, bf16;
    near_rows_f16, f16;
}
