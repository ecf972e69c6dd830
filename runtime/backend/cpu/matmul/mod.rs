//! Products of activations and weights: `out = x Wᵀ + b`.
//!
//! Weights are read as their file stores them. Few activation rows (decode) are
//! bound by the bytes of the weights, which are read once; many rows (prefill)
//! are bound by arithmetic, so weights become f32 a panel at a time.

mod few_rows;
mod many_rows;

use kcache_models::Tensor;

/// Activation rows up to which the bytes of the weights are the bound.
const FEW: usize = 8;

/// One weight matrix to multiply with, and where the result goes.
pub struct Product<'a> {
    /// `[out, in]`.
    pub weight: &'a Tensor,
    /// `[out]`.
    pub bias: Option<&'a [f32]>,
    /// `[m, out]`.
    pub out: &'a mut [f32],
}

/// `out = x Wᵀ + b` for `x` of `[m, in]`, `w` of `[out, in]` and `out` of `[m, out]`.
pub fn matmul(x: &[f32], m: usize, w: &Tensor, bias: Option<&[f32]>, out: &mut [f32]) {
    let weight = w;
    matmul_many(x, m, &mut [Product { weight, bias, out }]);
}

/// [`matmul`] of one `x` and several weights, in one parallel region.
pub fn matmul_many(x: &[f32], m: usize, products: &mut [Product<'_>]) {
    for Product { weight, bias, out } in products.iter() {
        debug_assert_eq!(x.len(), m * weight.cols());
        debug_assert_eq!(out.len(), m * weight.rows());
        debug_assert!(bias.is_none_or(|b| b.len() == weight.rows()));
    }
    match m {
        0 => {}
        1..=FEW => few_rows::multiply(x, m, products),
        _ => many_rows::multiply(x, m, products),
    }
}
