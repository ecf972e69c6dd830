//! A matrix times a few vectors: every stored row is read once.

use kcache_models::{Tensor, quant};
use rayon::prelude::*;

use super::{FEW, Product};
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
        if weight.rows() == 0 || weight.cols() == 0 {
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
        let (weight, row_bytes) = (self.weight, self.weight.row_bytes());
        let rows = outs.first().map_or(0, |out| out.len());
        let stored = &weight.bytes()[self.first_row * row_bytes..][..rows * row_bytes];
        for (r, stored) in stored.chunks_exact(row_bytes).enumerate() {
            let mut sums = [self.bias.map_or(0.0, |bias| bias[self.first_row + r]); FEW];
            add_row(weight, stored, x, &mut sums);
            for (out, sum) in outs.iter_mut().zip(sums) {
                out[r] = sum;
            }
        }
    }
}

/// Adds the products of one stored row and each row of `x` to `sums`.
fn add_row(weight: &Tensor, stored: &[u8], x: &[f32], sums: &mut [f32; FEW]) {
    let (dtype, cols) = (weight.dtype(), weight.cols());
    let piece_bytes = PIECE / dtype.block_len() * dtype.block_bytes();
    let mut buffer = [0.0; PIECE];
    for (i, stored) in stored.chunks(piece_bytes).enumerate() {
        let start = i * PIECE;
        let piece = &mut buffer[..PIECE.min(cols - start)];
        quant::dequantize(dtype, stored, piece);
        for (sum, x) in sums.iter_mut().zip(x.chunks_exact(cols)) {
            *sum += dot(piece, &x[start..][..piece.len()]);
        }
    }
}
