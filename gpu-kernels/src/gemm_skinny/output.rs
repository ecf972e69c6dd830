//! From the partial sums of a block to what it writes.

use cuda_std::{Float16, Global, GlobalMut, Shared, thread, warp};

use super::PADDING;
use crate::swiglu::silu;

/// The partial sums of a block: of each slice `[rows of x][rows of w]`.
#[derive(Clone, Copy)]
pub struct Partial {
    /// Where they lie.
    pub start: Shared<f32>,
    /// Warps, each of which has a share.
    pub slices: u32,
    /// Words from one warp's share to the next.
    pub stride: u32,
    /// Rows of `w`.
    pub w_rows: u32,
}

impl Partial {
    /// The words of a slice.
    pub const fn words(x_rows: u32, w_rows: u32) -> u32 {
        x_rows * (w_rows + PADDING)
    }

    /// Leaves the warp's share, as products of tensor cores hold it: that of a slice.
    #[inline(always)]
    pub fn put<const XT: usize, const WT: usize>(&self, slice: u32, sums: &[[[f32; 4]; XT]; WT]) {
        let (group, pair) = (warp::lane_id() / 4, warp::lane_id() % 4);
        for (w_tile, sums) in sums.iter().enumerate() {
            for (x_tile, sums) in sums.iter().enumerate() {
                for (e, &sum) in sums.iter().enumerate() {
                    let x_row = 8 * x_tile as u32 + 2 * pair + e as u32 % 2;
                    let w_row = 16 * w_tile as u32 + group + e as u32 / 2 * 8;
                    self.at(slice, x_row, w_row).write(0, sum);
                }
            }
        }
    }

    /// Leaves the warp's share, where rows of weights are columns of the product and rows of `x` come
    /// in halves of eight.
    #[inline(always)]
    pub fn put_columns(&self, slice: u32, sums: &[[f32; 2]; 2]) {
        let (group, pair) = (warp::lane_id() / 4, warp::lane_id() % 4);
        for (half, sums) in sums.iter().enumerate() {
            for (i, &sum) in sums.iter().enumerate() {
                let (x_row, w_row) = (8 * half as u32 + group, 2 * pair + i as u32);
                self.at(slice, x_row, w_row).write(0, sum);
            }
        }
    }

    /// The share of a slice.
    #[inline(always)]
    fn at(&self, slice: u32, x_row: u32, w_row: u32) -> Shared<f32> {
        let place = slice * self.stride + x_row * (self.w_rows + PADDING) + w_row;
        self.start.offset(place)
    }

    /// The sum over the slices.
    #[inline(always)]
    fn total(&self, x_row: u32, w_row: u32) -> f32 {
        let mut sum = 0.0;
        for slice in 0..self.slices {
            sum += self.at(slice, x_row, w_row).read(0);
        }
        sum
    }
}

/// Where a product goes, and what is added to it.
#[derive(Clone, Copy)]
pub struct Output {
    pub out: GlobalMut<f32>,
    pub bias: Global<f32>,
    pub residual: Global<f32>,
    pub m: u32,
    pub n: u32,
}

impl Output {
    /// What is added to the first result that the thread writes, of a block of `w_rows` columns from
    /// `first` on: to be read while the sums are not there yet. Nothing before the launch's turn.
    #[inline(always)]
    pub fn added_first(&self, w_rows: u32, first: u32) -> f32 {
        let i = thread::thread_idx_x();
        let (row, column) = (i / w_rows, first + i % w_rows);
        if row < self.m && column < self.n {
            self.added(row, column)
        } else {
            0.0
        }
    }

    /// What is added to a result.
    #[inline(always)]
    fn added(&self, row: u32, column: u32) -> f32 {
        let mut sum = 0.0;
        if self.bias.address() != 0 {
            sum += self.bias.read(column as usize);
        }
        if self.residual.address() != 0 {
            sum += self.residual.read(self.place(row, column));
        }
        sum
    }

    #[inline(always)]
    fn place(&self, row: u32, column: u32) -> usize {
        row as usize * self.n as usize + column as usize
    }

    /// Writes the columns of a block, from `first` on; `added` is what [`Self::added_first`] read.
    #[inline(always)]
    pub fn write(&self, partial: Partial, first: u32, added: f32) {
        let mut added = added;
        let mut i = thread::thread_idx_x();
        while i < self.m * partial.w_rows {
            let (row, w_row) = (i / partial.w_rows, i % partial.w_rows);
            let column = first + w_row;
            if column < self.n {
                if i >= thread::block_dim_x() {
                    added = self.added(row, column);
                }
                let sum = partial.total(row, w_row) + added;
                self.out.write(self.place(row, column), sum);
            }
            i += thread::block_dim_x();
        }
    }
}

/// Writes the gated columns of a block, from `first` on: `each` rows of weights are the gate's, and
/// as many that follow those of the same columns of `up`.
#[inline(always)]
pub fn write_gated<T: Float16>(
    out: GlobalMut<T>,
    (partial, each): (Partial, u32),
    (m, n): (u32, u32),
    first: u32,
) {
    let columns = partial.w_rows / 2;
    let mut i = thread::thread_idx_x();
    while i < m * columns {
        let (row, place) = (i / columns, i % columns);
        let column = first + place;
        if column < n {
            let w_row = place / each * 2 * each + place % each;
            let gate = partial.total(row, w_row);
            let up = partial.total(row, w_row + each);
            let value = T::from_f32(silu(gate) * up);
            out.write(row as usize * n as usize + column as usize, value);
        }
        i += thread::block_dim_x();
    }
}
