//! A matrix times many vectors: panels of weights made f32, then a dense product.

use gemm::Parallelism;
use kcache_models::{Tensor, quant};
use rayon::prelude::*;

use super::Product;

/// Weights of a panel: 2 MiB of f32.
const PANEL: usize = 512 * 1024;

/// `out = x Wᵀ + b` for each of `products`.
pub(super) fn multiply(x: &[f32], m: usize, products: &mut [Product<'_>]) {
    let mut panel = Vec::new();
    for Product { weight, bias, out } in products {
        let rows = (PANEL / weight.cols().max(1)).clamp(1, weight.rows().max(1));
        for first_row in (0..weight.rows()).step_by(rows) {
            let rows = rows.min(weight.rows() - first_row);
            panel.resize(rows * weight.cols(), 0.0);
            dequantize_rows(weight, first_row, &mut panel);
            gemm_panel(x, m, &panel, rows, &mut out[first_row..], weight.rows());
        }
        if let Some(bias) = bias {
            for row in out.chunks_exact_mut(weight.rows()) {
                for (x, b) in row.iter_mut().zip(bias.iter()) {
                    *x += b;
                }
            }
        }
    }
}

fn dequantize_rows(weight: &Tensor, first_row: usize, panel: &mut [f32]) {
    let (cols, row_bytes) = (weight.cols(), weight.row_bytes());
    let stored = &weight.bytes()[first_row * row_bytes..];
    panel
        .par_chunks_exact_mut(cols)
        .zip(stored.par_chunks_exact(row_bytes))
        .for_each(|(row, stored)| quant::dequantize(weight.dtype(), stored, row));
}

/// `out[i * stride + j] = x[i] · panel[j]`, for `m` rows `x` and `n` rows `panel`.
fn gemm_panel(x: &[f32], m: usize, panel: &[f32], n: usize, out: &mut [f32], stride: usize) {
    let k = panel.len() / n;
    assert!(x.len() >= m * k && out.len() >= (m - 1) * stride + n && n <= stride);
    // SAFETY: the assertion above keeps all three matrices inside their slices.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            stride as isize,
            false,
            x.as_ptr(),
            1,
            k as isize,
            panel.as_ptr(),
            k as isize,
            1,
            0.0,
            1.0,
            false,
            false,
            false,
            Parallelism::Rayon(0),
        );
    }
}
