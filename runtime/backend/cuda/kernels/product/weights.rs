//! How kernels are given the weights of a product.

use gpu_kernels::gemm_skinny::SkinnyShape;
use half::bf16;

use crate::driver::{DeviceSlice, Launch, Result, TensorMap};

/// Weights `[n, k]` as an argument of a kernel.
pub enum Weights<'a> {
    /// Where they lie.
    Address(DeviceSlice<'a, bf16>),
    /// Boxes of them.
    Map(Box<TensorMap>),
}

impl<'a> Weights<'a> {
    /// As a kernel of this shape takes them.
    pub fn new(shape: &SkinnyShape, w: DeviceSlice<'a, bf16>, size: [usize; 2]) -> Result<Self> {
        Ok(match shape.box_rows {
            Some(rows) => Self::Map(Box::new(TensorMap::new(w, size, rows)?)),
            None => Self::Address(w),
        })
    }

    /// Appends them to the arguments of a launch.
    pub fn append<'l>(&'l self, launch: Launch<'l>) -> Launch<'l>
    where
        'a: 'l,
    {
        match self {
            Self::Address(w) => launch.buffer(*w),
            Self::Map(map) => launch.value(&**map),
        }
    }
}
