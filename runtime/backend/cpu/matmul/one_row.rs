//! A matrix times one vector: bound by the bytes of the weights, each read once.

use kcache_models::Tensor;
use rayon::prelude::*;

use super::{Product, row_dot};

/// Weights that are worth a task of their own, some microseconds of work.
const TASK_WEIGHTS: usize = 32 * 1024;

/// Consecutive outputs of one product.
struct Task<'a> {
    weight: &'a Tensor,
    bias: Option<&'a [f32]>,
    first_row: usize,
    out: &'a mut [f32],
}

/// `out = W x + b` for each of `products`.
pub(super) fn multiply(x: &[f32], products: &mut [Product<'_>]) {
    let mut tasks = Vec::new();
    for Product { weight, bias, out } in products {
        let (weight, bias) = (*weight, *bias);
        let rows = TASK_WEIGHTS.div_ceil(weight.cols());
        for (i, out) in out.chunks_mut(rows).enumerate() {
            let first_row = i * rows;
            tasks.push(Task {
                weight,
                bias,
                first_row,
                out,
            });
        }
    }
    tasks.into_par_iter().for_each(|task| task.run(x));
}

impl Task<'_> {
    fn run(self, x: &[f32]) {
        let rows = self.first_row..self.first_row + self.out.len();
        let row_bytes = self.weight.row_bytes();
        let stored = &self.weight.bytes()[rows.start * row_bytes..rows.end * row_bytes];
        row_dot::rows(self.weight.dtype(), stored, x, self.out);
        if let Some(bias) = self.bias {
            for (out, bias) in self.out.iter_mut().zip(&bias[rows]) {
                *out += bias;
            }
        }
    }
}
