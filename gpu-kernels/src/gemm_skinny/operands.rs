//! What products of a few rows are of.

use cuda_std::{Float16, Global, U32x4, warp};

/// The weights of a product: rows of `k` elements.
#[derive(Clone, Copy)]
pub struct Weights<T> {
    /// Elements of a row.
    pub k: u32,
    /// Of each 16 rows of a block, what the first eight and the other eight are rows of.
    w: [Global<T>; 2],
    /// Rows from the first of the first eight to the first of the others.
    between: u32,
    /// Rows from one 16 to the next.
    step: u32,
    /// The last row of the weights.
    last: u32,
}

impl<T: Float16> Weights<T> {
    /// Of one matrix.
    #[inline(always)]
    pub fn of(w: Global<T>, n: u32, k: u32) -> Self {
        Self {
            k,
            w: [w, w],
            between: 8,
            step: 16,
            last: n - 1,
        }
    }

    /// Eight rows of each, so that both results of a column are in one block.
    #[inline(always)]
    pub fn paired(w: [Global<T>; 2], n: u32, k: u32) -> Self {
        Self {
            k,
            w,
            between: 0,
            step: 8,
            last: n - 1,
        }
    }

    /// Row `group` of a half of a tile; past the last row, the last.
    #[inline(always)]
    pub fn row(&self, first: u32, tile: u32, half: u32, group: u32) -> Global<T> {
        let row = first + tile * self.step + half * self.between + group;
        let [low, high] = self.w;
        let w = if half == 0 { low } else { high };
        w.offset(row.min(self.last) as usize * self.k as usize)
    }
}

/// The lane's rows of `x`.
pub struct Stored<const XT: usize> {
    rows: [Global<U32x4>; XT],
    k: u32,
}

impl<const XT: usize> Stored<XT> {
    /// Of `x [m, k]`.
    #[inline(always)]
    pub fn new<T: Float16>(x: Global<T>, m: u32, k: u32) -> Self {
        let row = |tile| (8 * tile as u32 + warp::lane_id() / 4).min(m - 1);
        let rows = core::array::from_fn(|tile| x.offset(row(tile) as usize * k as usize).cast());
        Self { rows, k }
    }

    /// Sixteen bytes of the lane's row of a tile of eight rows.
    #[inline(always)]
    pub fn load(&self, tile: usize, column: u32) -> [u32; 4] {
        load(self.rows[tile], column, self.k, false)
    }

    /// As [`Stored::load`], for a column that there is.
    #[inline(always)]
    pub fn read(&self, tile: usize, column: u32) -> [u32; 4] {
        self.rows[tile].read((column / 8) as usize).0
    }
}

/// Sixteen bytes of a row, or zeros past its end.
#[inline(always)]
pub fn load(row: Global<U32x4>, column: u32, k: u32, streaming: bool) -> [u32; 4] {
    if column >= k {
        return [0; 4];
    }
    let unit = (column / 8) as usize;
    match streaming {
        true => row.read_streaming(unit).0,
        false => row.read(unit).0,
    }
}
