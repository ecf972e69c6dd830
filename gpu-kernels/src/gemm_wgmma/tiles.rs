//! Which tile of a product comes after which.

use cuda_std::thread;

/// Tiles that lie below each other and are computed together, so that what the blocks of a moment
/// read of `x` and `w` is little and stays in the L2 cache.
const BAND: u32 = 8;

/// The tiles of a product.
#[derive(Clone, Copy)]
pub struct Tiles {
    /// Tiles below each other, and side by side.
    count: [u32; 2],
    /// Rows and columns of one.
    size: [u32; 2],
}

impl Tiles {
    /// Those of `[rows, columns]`, of a size.
    #[inline(always)]
    pub fn new([rows, columns]: [u32; 2], size: [u32; 2]) -> Self {
        let count = [rows.div_ceil(size[0]), columns.div_ceil(size[1])];
        Self { count, size }
    }

    /// The first row and column of a tile: down a band of tiles, then its next column.
    #[inline(always)]
    fn corner(&self, index: u32) -> [u32; 2] {
        let [down, across] = self.count;
        let band = index / (BAND * across);
        let place = index % (BAND * across);
        let height = (down - band * BAND).min(BAND);
        let (row, column) = (band * BAND + place % height, place / height);
        [row * self.size[0], column * self.size[1]]
    }

    /// Calls `work` for the tiles of this block.
    #[inline(always)]
    pub fn for_each(&self, mut work: impl FnMut([u32; 2])) {
        let mut index = thread::block_idx_x();
        while index < self.count[0] * self.count[1] {
            work(self.corner(index));
            index += thread::grid_dim_x();
        }
    }
}
