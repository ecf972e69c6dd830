//! How kernels of `gemm_skinny` are launched and given weights.

use gpu_kernels::gemm_skinny::SkinnyShape;
use half::bf16;

use crate::driver::{DeviceSlice, Function, Launch, Result, TensorMap};

/// A launch of a kernel for so many times its columns, without arguments.
pub fn launch(kernel: &Function, shape: SkinnyShape, parts: u32) -> Launch<'_> {
    let multiprocessors = kernel.context().device().multiprocessors;
    let blocks = shape.blocks(parts, multiprocessors);
    Launch::new(kernel, [blocks, 1, 1], [shape.threads, 1, 1]).shared_bytes(shape.shared_bytes)
}

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
