//! Matrix tiles for the tensor cores: `ldmatrix` and `mma.sync.m16n8k16`.
//!
//! With `group = lane / 4` and `pair = lane % 4`, a lane holds, two 16-bit values to a word:
//! - of A (16×16, row-major): word 0 row `group`, columns `2·pair`, `2·pair + 1`; word 1 row
//!   `group + 8`; words 2 and 3 as 0 and 1, eight columns on;
//! - of B (16×8, element `k, n`): word 0 column `group`, rows `2·pair`, `2·pair + 1`; word 1 eight
//!   rows on;
//! - of C and D (16×8, 32-bit): 0 and 1 row `group`, columns `2·pair`, `2·pair + 1`; 2 and 3 row
//!   `group + 8`.
//!
//! Each call is made by all 32 lanes.

use crate::{Element, Shared, platform};

/// Loads four 8×8 tiles of 16-bit values. Lane `i` gives the address of row `i % 8` of tile
/// `i / 8`, 16 contiguous bytes; it receives from tile `t`, in word `t`, the elements
/// `2·(lane % 4)` and the next of row `lane / 4`.
#[inline(always)]
#[track_caller]
pub fn load_matrix_x4<T: Element>(row: Shared<T>) -> [u32; 4] {
    platform::load_matrix_x4::<false>(row.raw())
}

/// Loads four 8×8 tiles as [`load_matrix_x4`] does, each transposed: a lane receives the elements
/// of column `lane / 4`, rows `2·(lane % 4)` and the next.
#[inline(always)]
#[track_caller]
pub fn load_matrix_x4_transposed<T: Element>(row: Shared<T>) -> [u32; 4] {
    platform::load_matrix_x4::<true>(row.raw())
}
