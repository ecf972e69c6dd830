//! From the sums of a warpgroup to what it writes.
//!
//! Of every 16 columns a thread has four sums: columns 2p and 2p + 1 of two tiles of 8, where p is
//! its place among four lanes. Lanes in twos change them around, so that each has four columns side
//! by side and writes them at once.

use cuda_std::{F32x4, Float16, Global, GlobalMut, U32x2, warp};

use crate::swiglu::silu;

/// Steps of 16 columns whose addends are read at once.
const AHEAD: usize = 4;

/// Of each of these steps, for both rows of a thread: four columns.
type Added = [[[f32; 4]; 2]; AHEAD];

/// What becomes of sums.
pub trait Output<const SUMS: usize>: Copy {
    /// Writes 64 rows of sums, the first of which is at a row and a column.
    fn write(&self, sums: &[f32; SUMS], corner: [u32; 2]);
}

/// Sums as they are: `out = sums + bias + residual`.
#[derive(Clone, Copy)]
pub struct Plain {
    /// `[m, n]`.
    pub out: GlobalMut<f32>,
    /// `[n]`, or null.
    pub bias: Global<f32>,
    /// `[m, n]`, or null.
    pub residual: Global<f32>,
    /// Rows.
    pub m: u32,
    /// Columns, whole tiles of 8.
    pub n: u32,
}

/// Sums of a gate, and as many of what it gates: `out = silu(gate) · up`.
#[derive(Clone, Copy)]
pub struct Gated<T> {
    /// `[m, n]`.
    pub out: GlobalMut<T>,
    /// Rows.
    pub m: u32,
    /// Columns, whole tiles of 8.
    pub n: u32,
}

/// The first row and the first of four columns that a thread writes.
#[inline(always)]
fn first_place([row, column]: [u32; 2]) -> [u32; 2] {
    let lane = warp::lane_id();
    let row = row + warp::warp_id() % 4 * 16 + lane / 4;
    [row, column + lane % 2 * 8 + lane % 4 / 2 * 4]
}

/// What both lanes of two have of one tile: of the first in the even lane, of the second in the odd.
#[inline(always)]
fn share(first: u32, second: u32) -> [u32; 2] {
    let odd = warp::lane_id() % 2 == 1;
    let (kept, given) = if odd {
        (second, first)
    } else {
        (first, second)
    };
    let got = warp::warp_shuffle_xor(warp::ALL, given, 1);
    if odd { [got, kept] } else { [kept, got] }
}

/// Where a thread's sum for a tile of 8 columns is: of its first row or, in the other half, of the
/// row 8 below.
#[inline(always)]
const fn place(tile: usize, half: usize) -> usize {
    4 * tile + 2 * half
}

impl Plain {
    /// Whether a row and a column are the product's.
    #[inline(always)]
    fn has(&self, row: u32, column: u32) -> bool {
        row < self.m && column < self.n
    }

    /// What is added to the four columns of some steps and both halves, the first of which are at a
    /// row and a column.
    #[inline(always)]
    fn added(&self, [row, column]: [u32; 2]) -> Added {
        let mut added = [[[0.0; 4]; 2]; AHEAD];
        for (step, added) in added.iter_mut().enumerate() {
            for (half, added) in added.iter_mut().enumerate() {
                *added = self.added_to_four(row + 8 * half as u32, column + 16 * step as u32);
            }
        }
        added
    }

    /// What is added to four columns.
    #[inline(always)]
    fn added_to_four(&self, row: u32, column: u32) -> [f32; 4] {
        let mut added = [0.0; 4];
        if self.has(row, column) {
            if self.bias.address() != 0 {
                added = self.bias.offset(column as usize).cast::<F32x4>().read(0).0;
            }
            if self.residual.address() != 0 {
                let residual = self.residual.offset(self.at(row, column));
                let residual = residual.cast::<F32x4>().read(0).0;
                added = [0, 1, 2, 3].map(|i| added[i] + residual[i]);
            }
        }
        added
    }

    #[inline(always)]
    fn at(&self, row: u32, column: u32) -> usize {
        row as usize * self.n as usize + column as usize
    }

    /// A thread's sums of a step of 16 columns: four of the product.
    #[inline(always)]
    fn quad<const SUMS: usize>(sums: &[f32; SUMS], step: usize, half: usize) -> [f32; 4] {
        let pair = |i: usize| {
            let sum = |tile| sums[place(tile, half) + i].to_bits();
            share(sum(2 * step), sum(2 * step + 1)).map(f32::from_bits)
        };
        let ([a, c], [b, d]) = (pair(0), pair(1));
        [a, b, c, d]
    }
}

impl<const SUMS: usize> Output<SUMS> for Plain {
    #[inline(always)]
    fn write(&self, sums: &[f32; SUMS], corner: [u32; 2]) {
        let [row, column] = first_place(corner);
        let adds = self.bias.address() != 0 || self.residual.address() != 0;
        for first in (0..SUMS / 8).step_by(AHEAD) {
            let column = column + 16 * first as u32;
            let added = match adds {
                true => self.added([row, column]),
                false => [[[0.0; 4]; 2]; AHEAD],
            };
            for (step, added) in added.iter().enumerate() {
                let column = column + 16 * step as u32;
                for (half, added) in added.iter().enumerate() {
                    let row = row + 8 * half as u32;
                    let quad = Self::quad(sums, first + step, half);
                    let values = [0, 1, 2, 3].map(|i| quad[i] + added[i]);
                    if self.has(row, column) {
                        let out = self.out.offset(self.at(row, column));
                        out.cast().write(0, F32x4(values));
                    }
                }
            }
        }
    }
}

impl<T: Float16, const SUMS: usize> Output<SUMS> for Gated<T> {
    #[inline(always)]
    fn write(&self, sums: &[f32; SUMS], corner: [u32; 2]) {
        let [row, column] = first_place(corner);
        for step in 0..SUMS / 16 {
            let column = column + 16 * step as u32;
            for half in 0..2 {
                let word = |tile: usize| {
                    let gated = |i: usize| silu(sums[i]) * sums[SUMS / 2 + i];
                    let first = place(tile, half);
                    T::pack(gated(first), gated(first + 1))
                };
                let words = share(word(2 * step), word(2 * step + 1));
                let row = row + 8 * half as u32;
                if row < self.m && column < self.n {
                    let at = row as usize * self.n as usize + column as usize;
                    self.out.offset(at).cast().write(0, U32x2(words));
                }
            }
        }
    }
}
