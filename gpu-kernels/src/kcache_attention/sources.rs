//! Where rows of V are: near the keys, hot, or on the host.

use cuda_std::{Float16, Global, GlobalMut, U32x2};

use super::attend::Pair;
use super::hot_rows::{FETCHED, NOT_HOT};
use super::select::Range;
use crate::KV_BLOCK;

/// Rows that a thread finds the addresses and weights of at once.
pub const EACH: usize = 2;

/// Where the rows of V of one KV head of one sequence are.
pub struct Sources<T> {
    /// The selected rows between sinks and window, with their slots.
    pub rows: GlobalMut<U32x2>,
    /// The range that they were selected from.
    pub range: Range,
    /// How many they are.
    pub chosen: u32,
    /// Rows that the first positions have among the near rows, whether there are so many or not.
    pub sinks: u32,
    /// Near rows after these, a ring of the last positions.
    pub window: u32,
    /// The near rows.
    pub near: Global<T>,
    /// The hot rows.
    pub hot: GlobalMut<T>,
    /// Blocks of V.
    pub table: Global<u64>,
}

impl<T: Float16> Sources<T> {
    /// Rows in all.
    #[inline(always)]
    pub fn count(&self, length: u32) -> u32 {
        self.range.first + self.chosen + length - self.range.end
    }

    /// Where the rows at `indices` are to be found; those past the last, nowhere. What is read for
    /// all of them is under way at once.
    #[inline(always)]
    pub fn locate<const DIM: u32>(&self, pair: &Pair, indices: [u32; EACH]) -> [Located<T>; EACH] {
        let selected = indices.map(|i| i.wrapping_sub(self.range.first));
        let rows = selected.map(|i| match i < self.chosen {
            true => self.rows.read(i as usize).0,
            false => [0, 0],
        });
        let blocks = rows.map(|[position, slot]| match slot & FETCHED {
            0 => 0,
            _ => self.table.read((position / KV_BLOCK) as usize),
        });
        core::array::from_fn(|i| match selected[i] < self.chosen {
            true => self.locate_selected::<DIM>(pair, rows[i], blocks[i]),
            false => self.locate_near::<DIM>(indices[i]),
        })
    }

    /// A row that is always in device memory.
    #[inline(always)]
    fn locate_near<const DIM: u32>(&self, index: u32) -> Located<T> {
        let Range { first, end } = self.range;
        let (position, row) = if index < first {
            (index, index)
        } else {
            let position = end + index - first - self.chosen;
            (position, self.sinks + position % self.window)
        };
        Located {
            position,
            source: self.near.offset((row * DIM) as usize),
            target: GlobalMut::from_address(0),
        }
    }

    /// A row that was selected: its position and slot, and the address of its block of V if it must
    /// be fetched.
    #[inline(always)]
    fn locate_selected<const DIM: u32>(
        &self,
        pair: &Pair,
        [position, slot]: [u32; 2],
        block: u64,
    ) -> Located<T> {
        let hot = self.hot.offset((slot & !FETCHED) as usize * DIM as usize);
        let nowhere = GlobalMut::from_address(0);
        if slot & FETCHED == 0 {
            return Located {
                position,
                source: hot.as_const(),
                target: nowhere,
            };
        }
        let row = (pair.kv_head * KV_BLOCK + position % KV_BLOCK) * DIM;
        Located {
            position,
            source: Global::from_address(block).offset(row as usize),
            target: if slot == NOT_HOT { nowhere } else { hot },
        }
    }
}

/// A row of V.
#[derive(Clone, Copy)]
pub struct Located<T> {
    /// Its position.
    pub position: u32,
    /// Where it lies.
    pub source: Global<T>,
    /// The slot that it should be copied to, or null.
    pub target: GlobalMut<T>,
}
