//! Products of activations and weights: `out = x Wᵀ + b`.
//!
//! Weights are read as their file stores them. One activation row (decode) is
//! bound by the bytes of the weights, which are used as they are decoded;
//! several (prefill, batches) share a panel of weights made f32.

mod many_rows;
mod native;
mod one_row;
mod row_dot;
mod stored;

use kcache_models::Tensor;

/// One weight matrix to multiply with, and where the result goes.
pub struct Product<'a> {
    /// `[out, in]`.
    pub weight: &'a Tensor,
    /// `[out]`.
    pub bias: Option<&'a [f32]>,
    /// `[m, out]`.
    pub out: &'a mut [f32],
}

/// `out = x Wᵀ + b` for `x` of `[m, in]`, `w` of `[out, in]` and `out` of
/// `[m, out]`; `in` is not 0.
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
        1 => one_row::multiply(x, products),
        _ => many_rows::multiply(x, m, products),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::cpu::dot::testing::{assert_close, floats, rng, tensor};
    use kcache_models::{DType, quant};

    fn reference(x: &[f32], m: usize, w: &Tensor, bias: Option<&[f32]>) -> Vec<f64> {
        let mut weights = vec![0.0; w.rows() * w.cols()];
        quant::dequantize(w.dtype(), w.bytes(), &mut weights);
        let mut out = Vec::new();
        for x in x.chunks(w.cols()).take(m) {
            for (r, row) in weights.chunks(w.cols()).enumerate() {
                let products = x
                    .iter()
                    .zip(row)
                    .map(|(x, w)| f64::from(*x) * f64::from(*w));
                out.push(products.sum::<f64>() + bias.map_or(0.0, |b| f64::from(b[r])));
            }
        }
        out
    }

    #[test]
    fn every_type_shape_and_row_count_equals_f64() {
        let mut rng = rng(1);
        for dtype in DType::ALL {
            for (out, cols) in [(1, 256), (3, 512), (577, 768), (40, 11_008)] {
                let w = tensor(&mut rng, dtype, out, cols);
                let bias = floats(&mut rng, out);
                for m in [1, 2, 3, 8, 9, 64, 129] {
                    if m > 9 && out * cols > 400_000 && dtype != DType::Q4_1 {
                        continue;
                    }
                    let x = floats(&mut rng, m * cols);
                    for bias in [None, Some(&bias[..])] {
                        let mut got = vec![f32::NAN; m * out];
                        matmul(&x, m, &w, bias, &mut got);
                        let what = format!("{dtype} [{out}, {cols}] m={m}");
                        let expected = reference(&x, m, &w, bias);
                        // A single narrow row may be nearly 0.
                        assert_close(&what, &got, &expected, out.max(m * 3), 5e-6);
                    }
                }
            }
        }
    }

    #[test]
    fn columns_need_only_be_whole_blocks() {
        let mut rng = rng(2);
        for (dtype, cols) in [
            (DType::F32, 1),
            (DType::F16, 33),
            (DType::BF16, 1055),
            (DType::Q8_0, 32),
            (DType::Q4_1, 1056),
            (DType::Q4_0, 2080),
            (DType::Q6K, 1280),
        ] {
            let w = tensor(&mut rng, dtype, 37, cols);
            for m in [1, 5, 20] {
                let x = floats(&mut rng, m * cols);
                let mut got = vec![f32::NAN; m * 37];
                matmul(&x, m, &w, None, &mut got);
                let expected = reference(&x, m, &w, None);
                assert_close(&format!("{dtype} {cols}"), &got, &expected, 37, 3e-6);
            }
        }
    }

    #[test]
    fn several_products_equal_each_alone() {
        let mut rng = rng(3);
        for m in [1, 4, 30] {
            let x = floats(&mut rng, m * 576);
            let weights = [(576, DType::Q4_1), (192, DType::F16), (192, DType::Q8_0)]
                .map(|(out, dtype)| tensor(&mut rng, dtype, out, 576));
            let bias = floats(&mut rng, 192);
            let mut outs = [vec![0.0; m * 576], vec![0.0; m * 192], vec![0.0; m * 192]];
            let biases = [None, Some(&bias[..]), None];
            let mut products: Vec<_> = weights
                .iter()
                .zip(biases)
                .zip(&mut outs)
                .map(|((weight, bias), out)| Product { weight, bias, out })
                .collect();
            matmul_many(&x, m, &mut products);
            for ((weight, bias), out) in weights.iter().zip(biases).zip(outs) {
                let mut alone = vec![f32::NAN; out.len()];
                matmul(&x, m, weight, bias, &mut alone);
                assert_eq!(out, alone);
            }
        }
    }

    #[test]
    fn nan_and_infinity_stay_in_their_row() {
        let mut rng = rng(4);
        for dtype in DType::ALL {
            let w = tensor(&mut rng, dtype, 20, 512);
            for m in [1, 3, 12] {
                let mut x = floats(&mut rng, m * 512);
                x[(m - 1) * 512 + 300] = f32::NAN;
                x[511] = f32::INFINITY;
                let mut got = vec![0.0; m * 20];
                matmul(&x, m, &w, None, &mut got);
                let expected = reference(&x, m, &w, None);
                assert_close(&format!("{dtype} m={m}"), &got, &expected, 20, 5e-6);
            }
        }
    }

    #[test]
    fn nothing_to_do_is_fine() {
        let w = tensor(&mut rng(5), DType::F32, 4, 8);
        matmul(&[], 0, &w, None, &mut []);
        matmul_many(&[], 0, &mut []);
    }
}
