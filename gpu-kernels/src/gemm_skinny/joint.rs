//! Products of one `x` with up to three matrices, such as those of Q, K and V, in one launch.

use cuda_std::{Global, GlobalMut, thread};

use super::output::Output;

/// One of the products, and the block's place in it.
#[derive(Clone, Copy)]
pub struct Part<W> {
    pub out: GlobalMut<f32>,
    /// The weights.
    pub w: W,
    pub bias: Global<f32>,
    /// Rows of `w`.
    pub n: u32,
}

/// The product that the running block has a part in, and the first row of weights there.
#[inline(always)]
pub fn part_of_block<W>(parts: [Part<W>; 3], columns: u32) -> (Part<W>, u32) {
    part_of(parts, columns, thread::block_idx_x())
}

/// The product of a block, and the first row of weights there: blocks take `columns` rows each, of
/// one product after the other.
#[inline(always)]
pub fn part_of<W>(
    [first, second, third]: [Part<W>; 3],
    columns: u32,
    mut block: u32,
) -> (Part<W>, u32) {
    let blocks = first.n.div_ceil(columns);
    if block < blocks {
        return (first, block * columns);
    }
    block -= blocks;
    let blocks = second.n.div_ceil(columns);
    if block < blocks {
        return (second, block * columns);
    }
    (third, (block - blocks) * columns)
}

impl<W> Part<W> {
    #[inline(always)]
    pub fn output(&self, m: u32) -> Output {
        Output {
            out: self.out,
            bias: self.bias,
            residual: Global::from_address(0),
            m,
            n: self.n,
        }
    }
}
