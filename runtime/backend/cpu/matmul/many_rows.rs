//! A matrix times several vectors: panels of weights made f32, then a dense product.

use kcache_models::{Tensor, quant};
use rayon::prelude::*;

use super::Product;
use crate::backend::cpu::dot::product::{View, product_at};

/// Rows of `x` in a task. Fewer would dequantise panels more often, more would
/// leave too few tasks to share out evenly.
const TILE_ROWS: usize = 256;
/// Rows of a weight in a task, that is columns of the output.
const PANEL_ROWS: usize = 64;
/// Floats between the rows of a panel. Without them, rows a multiple of 4 KiB
/// apart would push each other out of the cache.
const PADDING: usize = 16;
/// Up to this many rows of `x`, [`AT_ONCE`] at a time are faster than all
/// together: the dense product then needs no packed copy of the panel.
const FEW_ROWS: usize = 64;
const AT_ONCE: usize = 4;

/// A tile of the output: some rows of `x` times some rows of a weight.
struct Task<'a> {
    /// `[rows, in]`.
    x: &'a [f32],
    weight: &'a Tensor,
    /// The stored rows.
    panel: &'a [u8],
    /// One for each row of the panel.
    bias: Option<&'a [f32]>,
    /// Where the tile starts in the output, whose rows are `stride` apart.
    out: *mut f32,
    stride: usize,
}

// SAFETY: `out` is the only field that is not Send. The tasks of one `multiply`
// write disjoint tiles of outputs that it borrows until all of them have ended.
unsafe impl Send for Task<'_> {}

/// `out = x Wᵀ + b` for each of `products`.
pub(super) fn multiply(x: &[f32], m: usize, products: &mut [Product<'_>]) {
    let mut tasks = Vec::new();
    for Product { weight, bias, out } in products {
        let (cols, stride) = (weight.cols(), weight.rows());
        assert!(x.len() == m * cols && out.len() == m * stride);
        let out = out.as_mut_ptr();
        let panels = weight.bytes().chunks(PANEL_ROWS * weight.row_bytes());
        for (column, panel) in (0..stride).step_by(PANEL_ROWS).zip(panels) {
            let rows = PANEL_ROWS.min(stride - column);
            let bias = bias.map(|bias| &bias[column..column + rows]);
            for (i, x) in x.chunks(TILE_ROWS * cols).enumerate() {
                let out = out.wrapping_add(i * TILE_ROWS * stride + column);
                tasks.push(Task {
                    x,
                    weight,
                    panel,
                    bias,
                    out,
                    stride,
                });
            }
        }
    }
    tasks
        .into_par_iter()
        .for_each_init(Vec::new, |floats, task| task.run(floats));
}

impl Task<'_> {
    /// Computes the tile; `floats` is room for the panel.
    fn run(self, floats: &mut Vec<f32>) {
        let cols = self.weight.cols();
        let panel = self.dequantize(floats).transposed();
        let rows = self.x.len() / cols;
        let at_once = if rows <= FEW_ROWS { AT_ONCE } else { rows };
        for (i, x) in self.x.chunks(at_once * cols).enumerate() {
            let out = self.out.wrapping_add(i * at_once * self.stride);
            let x = View::rows(x, cols);
            if let Some(bias) = self.bias {
                for row in 0..x.shape[0] {
                    // SAFETY: these columns of this row belong to the tile.
                    let out = unsafe {
                        std::slice::from_raw_parts_mut(out.add(row * self.stride), bias.len())
                    };
                    out.copy_from_slice(bias);
                }
            }
            // SAFETY: these rows belong to the tile, which lies in an output
            // whose size `multiply` has checked; if there is a bias to add to,
            // they hold it by now.
            unsafe { product_at(x, panel, out, self.stride, self.bias.is_some()) };
        }
    }

    /// The panel as rows of `in` floats.
    fn dequantize<'f>(&self, floats: &'f mut Vec<f32>) -> View<'f> {
        let (cols, row_bytes) = (self.weight.cols(), self.weight.row_bytes());
        let (rows, stride) = (self.panel.len() / row_bytes, cols + PADDING);
        floats.resize(rows * stride, 0.0);
        let stored = self.panel.chunks_exact(row_bytes);
        for (stored, row) in stored.zip(floats.chunks_exact_mut(stride)) {
            quant::dequantize(self.weight.dtype(), stored, &mut row[..cols]);
        }
        View {
            floats,
            shape: [rows, cols],
            strides: [stride, 1],
        }
    }
}
