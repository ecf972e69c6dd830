//! The fewest of listed rows that hold a given probability.

use cuda_std::{Element, GlobalMut, Shared, math, thread};

use crate::reduce::{block_sum, count_before};

/// The probabilities of listed rows, summed over their group of query heads.
#[derive(Clone, Copy)]
pub struct Masses {
    /// One for each row.
    pub of_row: Shared<f32>,
    /// [`MAX_WARPS`] words to work in.
    pub scratch: Shared<f32>,
    /// Rows.
    pub count: u32,
}

/// Which of the rows stay: those with a larger key, and so many of those with this very key. A key
/// is a mass as a number: it is never negative, so that a larger one has a larger key.
#[derive(Clone, Copy)]
pub struct Cut {
    key: u32,
    ties: u32,
}

impl Masses {
    /// Sets the mass of each row to what `mass` gives for its index.
    #[inline(always)]
    pub fn fill(self, mass: impl Fn(u32) -> f32) {
        let mut i = thread::thread_idx_x();
        while i < self.count {
            self.of_row.write(i, mass(i));
            i += thread::block_dim_x();
        }
    }

    /// The mass of the rows that `chosen` names by index and key. Each thread asks for the rows
    /// that it has filled.
    #[inline(always)]
    pub fn sum(self, chosen: impl Fn(u32, u32) -> bool) -> f32 {
        let mut sum = 0.0;
        let mut i = thread::thread_idx_x();
        while i < self.count {
            let mass = self.of_row.read(i);
            if chosen(i, mass.to_bits()) {
                sum += mass;
            }
            i += thread::block_dim_x();
        }
        block_sum(sum, self.scratch)
    }

    /// The fewest rows of `middle`, the heaviest, that hold `needed`. All where all hold less.
    #[inline(always)]
    pub fn cut(self, middle: impl Fn(u32) -> bool, needed: f32) -> Cut {
        if needed <= 0.0 {
            // No key is larger.
            return Cut {
                key: u32::MAX,
                ties: 0,
            };
        }
        let mut key = 0;
        let mut bit = math::opaque(1 << 30);
        while bit > 0 {
            let candidate = key | bit;
            if self.sum(|i, other| middle(i) && other >= candidate) >= needed {
                key = candidate;
            }
            bit >>= 1;
        }
        if key == 0 {
            return Cut { key, ties: 0 };
        }
        let rest = needed - self.sum(|i, other| middle(i) && other > key);
        // A float becomes the nearest number that an integer holds.
        let ties = rest / f32::from_bits(key);
        let whole = ties as u32;
        let ties = if whole as f32 >= ties {
            whole
        } else {
            whole + 1
        };
        Cut { key, ties }
    }

    /// Shortens the list `rows` to those that stay, all outside `middle` and those of the cut, and
    /// gives their number.
    #[inline(always)]
    pub fn keep<R: Element>(
        self,
        cut: Cut,
        middle: impl Fn(u32) -> bool,
        rows: GlobalMut<R>,
    ) -> u32 {
        let counts = self.scratch.cast::<u32>();
        let (mut kept, mut equal, mut start) = (0, 0, 0);
        while start < self.count {
            let i = start + thread::thread_idx_x();
            let listed = i < self.count;
            let row = if listed {
                rows.read(i as usize)
            } else {
                R::default()
            };
            let other = if listed {
                self.of_row.read(i).to_bits()
            } else {
                0
            };
            let competes = listed && middle(i);
            let ties_here = competes && other == cut.key && cut.key > 0;
            let (before, all_equal) = count_before(ties_here, counts);
            let stays = (competes && other > cut.key)
                || (ties_here && equal + before < cut.ties)
                || (listed && (cut.key == 0 || !competes));
            let (rank, all) = count_before(stays, counts);
            // Every row of this round has been read, and none of a later one is written.
            if stays {
                rows.write((kept + rank) as usize, row);
            }
            kept += all;
            equal += all_equal;
            start += thread::block_dim_x();
        }
        kept
    }
}
