//! A matrix times a few vectors: every stored row is read once.

use kcache_models::{Tensor, quant};
use rayon::prelude::*;

use super::{FEW, Product, row_dot};
use crate::backend::cpu::dot::dot;

/// Weights that are worth a task of their own.
const TASK_WEIGHTS: usize = 32 * 1024;
/// Weights made f32 at a time; they stay in the first-level cache.
const PIECE: usize = 1024;

/// Consecutive output rows of one product.
struct Task<'a> {
    weight: &'a Tensor,
    bias: Option<&'a [f32]>,
    first_row: usize,
}

/// `out = x Wᵀ + b` for each of `products`, for `m` up to [`FEW`].
pub(super) fn multiply(x: &[f32], m: usize, products: &mut [Product<'_>]) {
    let mut tasks = Vec::new();
    // `m` slices for each task: its columns of every row of the output.
    let mut outs = Vec::new();
    for Product { weight, bias, out } in products {
        if weight.rows() == 0 {
            continue;
        }
        let rows = TASK_WEIGHTS.div_ceil(weight.cols());
        let mut columns: Vec<_> = out
            .chunks_exact_mut(weight.rows())
            .map(|row| row.chunks_mut(rows))
            .collect();
        for first_row in (0..weight.rows()).step_by(rows) {
            let (weight, bias) = (*weight, *bias);
            tasks.push(Task {
                weight,
                bias,
                first_row,
            });
            outs.extend(columns.iter_mut().filter_map(Iterator::next));
        }
    }
    tasks
        .par_iter()
        .zip(outs.par_chunks_mut(m))
        .for_each(|(task, outs)| task.run(x, outs));
}

impl Task<'_> {
    /// Computes `outs`, this task's part of each of the output's rows.
    fn run(&self, x: &[f32], outs: &mut [&mut [f32]]) {
        let (dtype, row_bytes) = (self.weight.dtype(), self.weight.row_bytes());
        let rows = outs.first().map_or(0, |out| out.len());
        let stored = &self.weight.bytes()[self.first_row * row_bytes..][..rows * row_bytes];
        match outs {
            [out] => row_dot::rows(dtype, stored, x, out),
            _ => self.run_by_pieces(stored, x, outs),
        }
        if let Some(bias) = self.bias {
            for out in outs {
                let bias = &bias[self.first_row..][..rows];
                out.iter_mut().zip(bias).for_each(|(out, b)| *out += b);
            }
        }
    }

    /// As [`row_dot::rows`] for several rows of `x`: decodes each weight once.
    fn run_by_pieces(&self, stored: &[u8], x: &[f32], outs: &mut [&mut [f32]]) {
        let (dtype, cols) = (self.weight.dtype(), self.weight.cols());
        let piece_bytes = PIECE / dtype.block_len() * dtype.block_bytes();
        let mut buffer = [0.0; PIECE];
        for (r, row) in stored.chunks_exact(self.weight.row_bytes()).enumerate() {
            let mut sums = [0.0; FEW];
            for (start, bytes) in (0..cols).step_by(PIECE).zip(row.chunks(piece_bytes)) {
                let piece = &mut buffer[..PIECE.min(cols - start)];
                quant::dequantize(dtype, bytes, piece);
                for (sum, x) in sums.iter_mut().zip(x.chunks_exact(cols)) {
                    *sum += dot(piece, &x[start..][..piece.len()]);
                }
            }
            for (out, sum) in outs.iter_mut().zip(sums) {
                out[r] = sum;
            }
        }
    }
}
