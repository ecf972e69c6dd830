//! The tensors of a model, one by one and by type.

use std::convert::Infallible;

use kcache::models::Tensor;
use kcache::models::weights::{ModelWeights, Upload};
use serde::Serialize;

/// One tensor.
#[derive(Clone, Debug, Serialize)]
pub struct TensorReport {
    pub name: String,
    pub dtype: &'static str,
    /// `[rows, cols]`, or `[len]` of a vector.
    pub shape: Vec<usize>,
    pub bytes: u64,
}

/// What all tensors of one type add up to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DtypeReport {
    pub dtype: &'static str,
    pub tensors: usize,
    pub parameters: u64,
    pub bytes: u64,
}

/// All tensors, in order of execution. A tied output head is not among them.
pub fn list(weights: &ModelWeights) -> Vec<TensorReport> {
    let mut list = Lister(Vec::new());
    // Listing cannot fail.
    let _: Result<_, Infallible> = weights.upload(&mut list);
    list.0
}

/// The types in `tensors`, those with the most bytes first.
pub fn by_dtype(tensors: &[TensorReport]) -> Vec<DtypeReport> {
    let mut dtypes: Vec<DtypeReport> = Vec::new();
    for tensor in tensors {
        let parameters = tensor.shape.iter().map(|&n| n as u64).product::<u64>();
        match dtypes.iter_mut().find(|d| d.dtype == tensor.dtype) {
            Some(sum) => {
                sum.tensors += 1;
                sum.parameters += parameters;
                sum.bytes += tensor.bytes;
            }
            None => dtypes.push(DtypeReport {
                dtype: tensor.dtype,
                tensors: 1,
                parameters,
                bytes: tensor.bytes,
            }),
        }
    }
    dtypes.sort_by_key(|d| std::cmp::Reverse(d.bytes));
    dtypes
}

struct Lister(Vec<TensorReport>);

impl Lister {
    fn add(&mut self, tensor: &Tensor, shape: Vec<usize>) -> Result<(), Infallible> {
        self.0.push(TensorReport {
            name: tensor.name().to_owned(),
            dtype: tensor.dtype().name(),
            shape,
            bytes: tensor.bytes().len() as u64,
        });
        Ok(())
    }
}

impl Upload for Lister {
    type Matrix = ();
    type Vector = ();
    type Error = Infallible;

    fn matrix(&mut self, tensor: &Tensor) -> Result<(), Infallible> {
        self.add(tensor, vec![tensor.rows(), tensor.cols()])
    }

    fn vector(&mut self, tensor: &Tensor) -> Result<(), Infallible> {
        self.add(tensor, vec![tensor.cols()])
    }
}
