//! Matrix products for up to 64 rows: bound by reading the weights once.
//!
//! Tensor cores multiply what threads load straight into registers: the rows of `w` are rows of
//! their A, the rows of `x` columns of their B. The order of `k` in a product is free as long as
//! both sides have the same; so each lane loads 16 bytes where they lie, of one row of each, and
//! its words go through two products. The warps of a block share rows of `w` and divide `k`.
//!
//! The weights come into registers, or, on Hopper, into shared memory: by bulk copies of rows
//! (`streamed`, `kept`) or of boxes (`boxed`).

#[cfg(any(hopper, not(target_arch = "nvptx64")))]
mod boxed;
mod joint;
#[cfg(any(hopper, not(target_arch = "nvptx64")))]
mod kept;
mod kernels;
mod operands;
mod output;
#[cfg(any(hopper, not(target_arch = "nvptx64")))]
mod streamed;

use cuda_std::{Float16, Global, U32x4, dynamic_shared, grid, thread, warp};

#[cfg(any(hopper, not(target_arch = "nvptx64")))]
pub use boxed::{BOX_ROWS, BOXED, GATED_BOX_ROWS};
#[cfg(any(hopper, not(target_arch = "nvptx64")))]
pub use kept::{KEPT, KEPT_DEPTH};
pub use kernels::*;

use kernels::OnePart;
use operands::{Stored, Weights, load};
use output::Partial;
#[cfg(any(hopper, not(target_arch = "nvptx64")))]
use streamed::Streamed;

/// Warps of a block that loads into registers, among which `k` is divided.
const SLICES: u32 = 8;

/// Elements of `k` that a lane's load covers, with the three lanes beside it.
const LANES_DEPTH: u32 = 32;

/// Elements that keep the rows of partial sums in different banks.
const PADDING: u32 = 4;

/// How a kernel is launched: grid ([`SkinnyShape::blocks`] of `ceil(n / columns)`), block `(threads)`.
#[derive(Clone, Copy, Debug)]
pub struct SkinnyShape {
    /// The most rows of the product.
    pub rows: u32,
    /// Columns of the product that a block computes.
    pub columns: u32,
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of dynamic shared memory.
    pub shared_bytes: u32,
    /// Rows of the boxes of the tensor maps by which the kernel takes weights; one that has none
    /// takes their addresses.
    pub box_rows: Option<u32>,
    /// Elements of a row of `x` that a block can keep, if it does: such a block stays on its
    /// multiprocessor and takes `columns` after `columns`. Of others there is one for each.
    pub kept_depth: Option<u32>,
}

impl SkinnyShape {
    /// Blocks for so many times `columns`.
    pub const fn blocks(self, parts: u32, multiprocessors: u32) -> u32 {
        if self.kept_depth.is_some() && multiprocessors < parts {
            multiprocessors
        } else {
            parts
        }
    }

    /// Whether the kernel takes `m` rows of `k` elements.
    pub fn takes(self, m: usize, k: usize) -> bool {
        m <= self.rows as usize && self.kept_depth.is_none_or(|most| k <= most as usize)
    }

    /// The shape of the kernel that also applies the gate: half of the rows of `w` that a block
    /// reads are of the other matrix.
    pub const fn gated(self) -> Self {
        Self {
            columns: self.columns / 2,
            box_rows: match self.box_rows {
                Some(rows) => Some(rows / 2),
                None => None,
            },
            ..self
        }
    }
}

/// `8 · XT` rows of `x`; a block has `16 · WT` rows of `w`, of which a lane loads `16 · LOADS`
/// bytes each while it multiplies as many.
struct Shape<const XT: usize, const WT: usize, const LOADS: usize>;

type Rows8 = Shape<1, 1, 4>;
type Rows16 = Shape<2, 2, 2>;
type Rows32 = Shape<4, 2, 2>;
type Rows64 = Shape<8, 2, 1>;

#[cfg(any(hopper, not(target_arch = "nvptx64")))]
type Deep = Streamed<3>;
#[cfg(any(hopper, not(target_arch = "nvptx64")))]
type Shallow = Streamed<2>;

/// The kernels `gemm_skinny_8_*`, and those for more rows.
pub const SHAPES: [SkinnyShape; 4] = [
    Rows8::SKINNY,
    Rows16::SKINNY,
    Rows32::SKINNY,
    Rows64::SKINNY,
];

/// The kernels `gemm_streamed_*`.
#[cfg(any(hopper, not(target_arch = "nvptx64")))]
pub const STREAMED: SkinnyShape = Deep::SKINNY;

/// The kernels `gemm_streamed_joint_*` and `gemm_streamed_gated_*`.
#[cfg(any(hopper, not(target_arch = "nvptx64")))]
pub const STREAMED_JOINT: SkinnyShape = Shallow::SKINNY;

impl<const XT: usize, const WT: usize, const LOADS: usize> Shape<XT, WT, LOADS> {
    const X_ROWS: u32 = 8 * XT as u32;
    const PARTIAL: u32 = Partial::words(Self::X_ROWS, Self::W_ROWS);
    /// Elements of `k` between the steps of a warp.
    const STEP: u32 = LANES_DEPTH * LOADS as u32;
    const SKINNY: SkinnyShape = SkinnyShape {
        rows: Self::X_ROWS,
        columns: Self::W_ROWS,
        threads: <Self as OnePart>::THREADS,
        shared_bytes: SLICES * Self::PARTIAL * 4,
        box_rows: None,
        kept_depth: None,
    };

    /// The lane's row of each eight rows of weights.
    #[inline(always)]
    fn rows<T: Float16>(weights: &Weights<T>, first: u32) -> [[Global<U32x4>; 2]; WT] {
        let group = warp::lane_id() / 4;
        core::array::from_fn(|tile| {
            core::array::from_fn(|half| {
                let row = weights.row(first, tile as u32, half as u32, group);
                row.cast()
            })
        })
    }

    #[inline(always)]
    fn load_weights(
        rows: &[[Global<U32x4>; 2]; WT],
        column: u32,
        k: u32,
    ) -> [[[[u32; 4]; 2]; WT]; LOADS] {
        let mut words = [[[[0; 4]; 2]; WT]; LOADS];
        for (i, words) in words.iter_mut().enumerate() {
            for (words, rows) in words.iter_mut().zip(rows) {
                for (words, row) in words.iter_mut().zip(rows) {
                    *words = load(*row, column + LANES_DEPTH * i as u32, k, true);
                }
            }
        }
        words
    }

    /// The warp's share of the product with `x [m, k]`. Weights, which no earlier launch writes, are on
    /// their way before `x` is read.
    #[inline(always)]
    fn sums<T: Float16, A>(
        weights: &Weights<T>,
        first: u32,
        (x, m): (Global<T>, u32),
        ahead: impl FnOnce() -> A,
    ) -> ([[[f32; 4]; XT]; WT], A) {
        let k = weights.k;
        let rows = Self::rows(weights, first);
        let mut sums = [[[0.0; 4]; XT]; WT];
        let mut column = warp::warp_id() * Self::STEP + warp::lane_id() % 4 * 8;
        let mut words = Self::load_weights(&rows, column, k);
        grid::wait_for_previous();
        let read_ahead = ahead();
        let input = Stored::<XT>::new(x, m, k);
        // Lanes of one product must stay together, so that the condition is the warp's.
        while column - warp::lane_id() % 4 * 8 < k {
            let next = column + SLICES * Self::STEP;
            let ahead = Self::load_weights(&rows, next, k);
            for (i, words) in words.iter().enumerate() {
                for tile in 0..XT {
                    let x = input.load(tile, column + LANES_DEPTH * i as u32);
                    for (sums, [low, high]) in sums.iter_mut().zip(words) {
                        let sum = &mut sums[tile];
                        T::mma_m16n8k16(sum, [low[0], high[0], low[1], high[1]], [x[0], x[1]]);
                        T::mma_m16n8k16(sum, [low[2], high[2], low[3], high[3]], [x[2], x[3]]);
                    }
                }
            }
            words = ahead;
            column = next;
        }
        (sums, read_ahead)
    }
}

impl<const XT: usize, const WT: usize, const LOADS: usize> OnePart for Shape<XT, WT, LOADS> {
    const THREADS: u32 = SLICES * warp::SIZE;
    /// Two where their registers fit.
    const SHARING: u32 = if XT <= 2 { 2 } else { 1 };
    const W_ROWS: u32 = 16 * WT as u32;

    #[inline(always)]
    fn run<T: Float16, A>(
        weights: &Weights<T>,
        first: u32,
        x: (Global<T>, u32),
        ahead: impl FnOnce() -> A,
        write: impl FnOnce(Partial, A),
    ) {
        grid::release_next();
        let partial = Partial {
            start: dynamic_shared(0),
            slices: SLICES,
            stride: Self::PARTIAL,
            w_rows: Self::W_ROWS,
        };
        let (sums, ahead) = Self::sums(weights, first, x, ahead);
        partial.put(warp::warp_id(), &sums);
        thread::sync_threads();
        write(partial, ahead);
    }
}
