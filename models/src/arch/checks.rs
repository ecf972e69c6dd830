//! Checks of one tensor against what the configuration says.

use std::fmt;

use crate::quant::dequantize;
use crate::{DType, Result, Tensor};

/// An expected dimension: what the configuration calls it, and its size.
#[derive(Clone, Copy)]
pub(super) struct Dim(pub(super) &'static str, pub(super) usize);

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.0, self.1)
    }
}

/// Dimensions as an error message lists them.
pub(super) fn shape(dims: &[Dim]) -> String {
    let dims: Vec<String> = dims.iter().map(Dim::to_string).collect();
    format!("[{}]", dims.join(", "))
}

/// Checks rows and columns; a vector is one row.
pub(super) fn check_shape(tensor: &Tensor, expected: &[Dim]) -> Result<()> {
    let (rows, cols) = match *expected {
        [Dim(_, cols)] => (1, cols),
        [Dim(_, rows), Dim(_, cols)] => (rows, cols),
        _ => return Ok(()),
    };
    if (tensor.rows(), tensor.cols()) == (rows, cols) {
        return Ok(());
    }
    let found = [tensor.rows(), tensor.cols()];
    let expected = shape(expected);
    Err(tensor.error(format!("has shape {found:?}, expected {expected}")))
}

/// The elements of a small float tensor, all of them finite.
pub(super) fn read_vector(tensor: &Tensor) -> Result<Vec<f32>> {
    if !matches!(tensor.dtype(), DType::F32 | DType::F16 | DType::BF16) {
        let found = tensor.dtype();
        return Err(tensor.error(format!("has type {found}, expected F32, F16 or BF16")));
    }
    let mut values = vec![0.0; tensor.rows() * tensor.cols()];
    dequantize(tensor.dtype(), tensor.bytes(), &mut values);
    match values.iter().position(|x| !x.is_finite()) {
        Some(i) => Err(tensor.error(format!("element {i} is {}", values[i]))),
        None => Ok(values),
    }
}
