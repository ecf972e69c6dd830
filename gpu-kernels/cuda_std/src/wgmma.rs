//! Matrix products of a warpgroup, 128 threads, from shared memory (`wgmma`, Hopper alone).
//!
//! A tile is rows of 64 16-bit elements, swizzled as a [`TensorMap`](crate::bulk_copy::TensorMap)
//! leaves them, at a multiple of 1,024 bytes. Sums of `64 × N` are spread over the threads: with
//! `warp`, `group = lane / 4` and `pair = lane % 4`, a thread holds in `4·j` and `4·j + 1` the
//! columns `8·j + 2·pair` and the next of row `16·warp + group`, in `4·j + 2` and `4·j + 3` those of
//! row `16·warp + group + 8`.
//!
//! Each call is made by all threads of a warpgroup, and has ended when it returns; those of
//! [`Running`] when the next one does.

use crate::{Element, Float16, Shared, platform, thread, warp};

/// Threads of a warpgroup: four warps, the first a multiple of four.
pub const THREADS: u32 = 128;

/// Rows of A, and of the sums.
pub const ROWS: u32 = 64;

/// Bytes of a tile's row.
const ROW_BYTES: u32 = 128;

/// Where a tile is and how it lies, in the form the instruction takes it.
#[derive(Clone, Copy)]
pub struct Tile(u64);

impl Tile {
    /// A tile whose rows are rows of A, or columns of B: `k` runs along them.
    #[inline(always)]
    pub fn new<T: Element>(start: Shared<T>) -> Self {
        const EIGHT_ROWS: u64 = (8 * ROW_BYTES / 16) as u64;
        const SWIZZLED_128: u64 = 1 << 62;
        let start = platform::shared_window_offset(start.raw());
        Self(u64::from((start & 0x3_ffff) >> 4) | 1 << 16 | EIGHT_ROWS << 32 | SWIZZLED_128)
    }
}

impl Tile {
    /// A tile of B whose columns run along its rows, `k` across them. Wider matrices are tiles of
    /// 64 columns that follow each other after `next` bytes.
    #[inline(always)]
    pub fn transposed<T: Element>(start: Shared<T>, next: u32) -> Self {
        let first = 0x3fff << 16;
        Self(Self::new(start).0 & !first | u64::from(next / 16) << 16)
    }
}

/// The sums of a warpgroup: `[f32; N / 2]` for `N` columns.
pub trait Sums: platform::WarpgroupSums {}

impl<S: platform::WarpgroupSums> Sums for S {}

/// `sums += a · bᵀ`: `a` a tile of 64 rows, `b` one of `N`.
#[inline(always)]
#[track_caller]
pub fn multiply<T: Float16, S: Sums>(sums: &mut S, a: Tile, b: Tile) {
    if T::IS_BF16 {
        sums.multiply_bf16(a.0, b.0);
    } else {
        sums.multiply_f16(a.0, b.0);
    }
}

/// Sums that a product may still be added to: `sums = a · bᵀ`, then `sums += a · bᵀ` for one tile
/// after the other, of which one is multiplied while the next is waited for.
#[must_use = "the last product is waited for by `finish`"]
pub struct Running<S>(S);

impl<S: Sums> Running<S> {
    /// Starts the first product. No other runs meanwhile.
    #[inline(always)]
    #[track_caller]
    pub fn start<T: Float16>(a: Tile, b: Tile) -> Self {
        Self(if T::IS_BF16 {
            S::start_bf16(a.0, b.0)
        } else {
            S::start_f16(a.0, b.0)
        })
    }

    /// Starts the next product, and returns when the one before has ended: its tiles are free.
    #[inline(always)]
    #[track_caller]
    pub fn add<T: Float16>(&mut self, a: Tile, b: Tile) {
        if T::IS_BF16 {
            self.0.add_bf16(a.0, b.0);
        } else {
            self.0.add_f16(a.0, b.0);
        }
    }

    /// The sums, when the last product has ended.
    #[inline(always)]
    pub fn finish(mut self) -> S {
        self.0.wait();
        self.0
    }
}

/// 64 columns of A in registers, 16 to an element: of each the words of the warp's 16 rows as
/// [`crate::mma`] has them.
pub type RegisterTile = [[u32; 4]; 4];

/// `sums += a · b`: `a` in registers, `b` a tile of 64 rows of `N` columns, see
/// [`Tile::transposed`].
#[inline(always)]
#[track_caller]
pub fn multiply_registers<T: Float16, S: Sums>(sums: &mut S, a: &RegisterTile, b: Tile) {
    if T::IS_BF16 {
        sums.multiply_registers_bf16(a, b.0);
    } else {
        sums.multiply_registers_f16(a, b.0);
    }
}

/// Makes what this thread has written to shared memory visible to the products, and to bulk copies.
#[inline(always)]
pub fn fence_shared() {
    platform::fence_async_proxy();
}

/// The warpgroup's number in its block.
#[inline(always)]
pub fn warpgroup_id() -> u32 {
    // The same for all lanes, which the compiler does not know of the thread's index.
    warp::warp_shuffle_idx(warp::ALL, thread::thread_idx_x() / THREADS, 0)
}

/// Takes registers that other warpgroups have given up, to have `COUNT` for each thread: a multiple of 8 from 24 to
/// 256. Every thread of the warpgroup calls it.
#[inline(always)]
pub fn take_registers<const COUNT: u32>() {
    platform::take_registers::<COUNT>();
}

/// Gives up registers, down to `COUNT` for each thread.
#[inline(always)]
pub fn give_registers<const COUNT: u32>() {
    platform::give_registers::<COUNT>();
}
