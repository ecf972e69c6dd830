//! Weights on their way in: one reading, which also finds broken ones.

use kcache_models::{Tensor, quant};
use rayon::prelude::*;

use crate::{Error, Result};

/// # Errors
/// [`Error::Model`] naming the tensor and row of the first NaN or infinity.
pub fn check_finite(tensor: &Tensor) -> Result<()> {
    if tensor.rows() == 0 {
        return Ok(());
    }
    let broken = tensor
        .bytes()
        .par_chunks(tensor.row_bytes())
        .enumerate()
        .find_map_first(|(row, bytes)| {
            let mut floats = vec![0.0; tensor.cols()];
            quant::dequantize(tensor.dtype(), bytes, &mut floats);
            (!all_finite(&floats)).then_some(row)
        });
    match broken {
        Some(row) => Err(tensor
            .error(format!("row {row} holds NaN or infinity"))
            .into()),
        None => Ok(()),
    }
}

/// The floats of a norm or bias.
///
/// # Errors
/// As [`check_finite`].
pub fn vector(tensor: &Tensor) -> Result<Vec<f32>> {
    check_finite(tensor)?;
    let mut floats = Vec::new();
    let n = tensor.rows() * tensor.cols();
    floats
        .try_reserve_exact(n)
        .map_err(|_| Error::OutOfMemory {
            what: "a weight vector".into(),
            bytes: (n * size_of::<f32>()) as u64,
            available: None,
        })?;
    floats.resize(n, 0.0);
    quant::dequantize(tensor.dtype(), tensor.bytes(), &mut floats);
    Ok(floats)
}

/// `x * 0` is 0 for finite `x` and NaN otherwise; the sum vectorises.
fn all_finite(floats: &[f32]) -> bool {
    let mut lanes = [0.0f32; 16];
    let (chunks, rest) = floats.as_chunks::<16>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += x * 0.0;
        }
    }
    lanes.iter().sum::<f32>() == 0.0 && rest.iter().all(|x| x.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_broken_value_anywhere_is_found() {
        for len in [1, 15, 16, 40] {
            let mut floats = vec![1.0f32; len];
            assert!(all_finite(&floats));
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                floats[len - 1] = bad;
                assert!(!all_finite(&floats));
                floats[len - 1] = 1.0;
                floats[0] = bad;
                assert!(!all_finite(&floats));
                floats[0] = 1.0;
            }
        }
    }
}
