//! Tiles of a matrix in shared memory, and the fragments that the tensor cores take from them.
//!
//! A row is padded by 16 bytes: an odd number of 16-byte units, so that the eight rows that one
//! `ldmatrix` phase reads lie in different banks.

use cuda_std::{Element, Global, Shared, async_copy, mma, thread, warp};

/// Elements of 16 bits in one access.
pub const LANE_WIDTH: u32 = 8;

/// Elements from one row to the next, for rows of `width` elements.
pub const fn stride(width: u32) -> u32 {
    width + LANE_WIDTH
}

/// Rows of `WIDTH` 16-bit elements in shared memory.
#[derive(Clone, Copy)]
pub struct Tile<T, const WIDTH: u32>(pub Shared<T>);

impl<T: Element, const WIDTH: u32> Tile<T, WIDTH> {
    /// Bytes that `rows` rows take.
    pub const fn bytes(rows: u32) -> u32 {
        rows * stride(WIDTH) * size_of::<T>() as u32
    }

    /// Starts copying `rows` rows by the `threads` threads of the block. `row` gives a row's address and how many
    /// of its elements from there on are valid; the rest becomes zero.
    #[inline(always)]
    pub fn start_copy(self, rows: u32, threads: u32, row: impl Fn(u32) -> (Global<T>, u32)) {
        let per_row = WIDTH / LANE_WIDTH;
        let mut unit = thread::thread_idx_x();
        while unit < rows * per_row {
            let (index, column) = (unit / per_row, unit % per_row * LANE_WIDTH);
            let (source, valid) = row(index);
            let valid = valid.saturating_sub(column).min(LANE_WIDTH);
            // What is not valid has no address either.
            let source = if valid == 0 {
                source
            } else {
                source.offset(column as usize)
            };
            async_copy::copy_16(
                self.at(index, column),
                source,
                valid * size_of::<T>() as u32,
            );
            unit += threads;
        }
    }

    /// The element at a row and a column.
    #[inline(always)]
    pub fn at(self, row: u32, column: u32) -> Shared<T> {
        self.0.offset(row * stride(WIDTH) + column)
    }

    /// Words of A: 16 rows from `row`, 16 columns from `column`.
    #[inline(always)]
    pub fn a(self, row: u32, column: u32) -> [u32; 4] {
        let lane = warp::lane_id();
        mma::load_matrix_x4(self.at(row + lane % 16, column + lane / 16 * 8))
    }

    /// Words of two Bs whose columns are rows of the tile: rows from `row` and from `row + 8`,
    /// columns from `column`, 16 of them.
    #[inline(always)]
    pub fn b_pair(self, row: u32, column: u32) -> [[u32; 2]; 2] {
        let lane = warp::lane_id();
        let row = row + lane % 8 + lane / 16 * 8;
        let [w0, w1, w2, w3] = mma::load_matrix_x4(self.at(row, column + lane / 8 % 2 * 8));
        [[w0, w1], [w2, w3]]
    }

    /// Words of two Bs that lie in the tile as they are: 16 rows from `row`, columns from `column`
    /// and from `column + 8`.
    #[inline(always)]
    pub fn b_pair_transposed(self, row: u32, column: u32) -> [[u32; 2]; 2] {
        let lane = warp::lane_id();
        let address = self.at(row + lane % 16, column + lane / 16 * 8);
        let [w0, w1, w2, w3] = mma::load_matrix_x4_transposed(address);
        [[w0, w1], [w2, w3]]
    }
}
