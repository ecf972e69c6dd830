//! A matrix times many vectors: panels of weights made f32, then a dense product.

use gemm::Parallelism;
use kcache_models::{Tensor, quant};
use rayon::prelude::*;

use super::Product;

/// Rows of `x` in a task. Fewer would dequantise panels more often, more would
/// leave too few tasks to share out evenly.
const TILE_ROWS: usize = 256;
/// Rows of a weight in a task, that is columns of the output.
const PANEL_ROWS: usize = 64;

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
    fn run(&self, floats: &mut Vec<f32>) {
        let k = self.weight.cols();
        let (m, n) = (self.x.len() / k, self.panel.len() / self.weight.row_bytes());
        floats.resize(n * k, 0.0);
        quant::dequantize(self.weight.dtype(), self.panel, floats);
        if let Some(bias) = self.bias {
            for row in 0..m {
                // SAFETY: row `row` of this task's tile, `n` columns of it.
                let out =
                    unsafe { std::slice::from_raw_parts_mut(self.out.add(row * self.stride), n) };
                out.copy_from_slice(bias);
            }
        }
        // SAFETY: `x` is `[m, k]` and `floats` `[n, k]`; the tile lies in an
        // output of `stride` columns, and `multiply` has checked its size. If
        // the product adds to the output, the tile holds the bias by now.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                self.out,
                1,
                self.stride as isize,
                self.bias.is_some(),
                self.x.as_ptr(),
                1,
                k as isize,
                floats.as_ptr(),
                k as isize,
                1,
                1.0,
                1.0,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
    }
}
