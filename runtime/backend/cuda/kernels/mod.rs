//! The device kernels: loaded once, with one checked launch for each.

mod attention;
mod decode;
mod product;
mod rope;
mod rows;

use cuda_std::Kernel;

use super::tuning::Tuning;
use crate::driver::{Context, DriverError, Function, Module, PtxImage, Result};

pub(super) use attention::Prefill;
pub(super) use decode::{
    FusedWorkspace, Places, Rest, Selection, Sequences, Shape, Workspace, mark_words,
    workspace_sizes,
};
pub(super) use product::{Gated, MAX_JOINT, Part, Product};
pub(super) use rope::{Append, Near, Rotation};

/// What `build.rs` compiled, the most portable first.
const IMAGES: [&str; 2] = [
    include_str!(concat!(env!("OUT_DIR"), "/kernels.sm_80.ptx")),
    include_str!(concat!(env!("OUT_DIR"), "/kernels.sm_90a.ptx")),
];

/// Every kernel that the backend launches, by family.
pub(super) struct Kernels {
    pub rows: rows::Kernels,
    pub product: product::Kernels,
    pub rope: rope::Kernels,
    pub attention: attention::Kernels,
    pub decode: decode::Kernels,
}

impl Kernels {
    /// Compiles the embedded images for the device of `context`, and takes the kernels that
    /// `tuning` names.
    pub fn load(context: &Context, tuning: &Tuning) -> crate::Result<Self> {
        let images: Vec<PtxImage<'_>> = IMAGES
            .iter()
            .map(|text| PtxImage::new(text))
            .collect::<Result<_>>()?;
        let module = Module::load(context, "kcache", &images)?;
        let choices = tuning.of(&module.architecture().to_string())?;
        Ok(Self {
            rows: rows::Kernels::load(&module)?,
            product: product::Kernels::load(&module, choices)?,
            rope: rope::Kernels::load(&module)?,
            attention: attention::Kernels::load(&module, choices)?,
            decode: decode::Kernels::load(&module, choices)?,
        })
    }
}

fn function(module: &Module, kernel: &Kernel) -> Result<Function> {
    module.function(kernel.name)
}

/// One kernel for each size of a head.
struct ByHead([Function; 4]);

/// The sizes of a head that there are kernels for.
pub(super) const HEAD_DIMS: [usize; 4] = [64, 96, 128, 256];

impl ByHead {
    /// `kernels` in the order of [`HEAD_DIMS`].
    fn load(module: &Module, kernels: [&Kernel; 4]) -> Result<Self> {
        let [a, b, c, d] = kernels.map(|kernel| function(module, kernel));
        Ok(Self([a?, b?, c?, d?]))
    }

    fn of(&self, dim: usize) -> Result<&Function> {
        let index = HEAD_DIMS.iter().position(|&d| d == dim);
        index.map(|i| &self.0[i]).ok_or_else(|| {
            refused(
                &self.0[0],
                format!("heads of {dim} elements, and there are kernels for {HEAD_DIMS:?}"),
            )
        })
    }
}

fn refused(function: &Function, reason: String) -> DriverError {
    DriverError::Launch {
        kernel: function.name().to_owned(),
        reason,
    }
}

/// Refuses a launch for which one of `buffers`, `(name, elements, elements needed)`, is too short.
fn check_lengths(function: &Function, buffers: &[(&str, usize, usize)]) -> Result<()> {
    match buffers.iter().find(|(_, len, needed)| len < needed) {
        Some((name, len, needed)) => Err(refused(
            function,
            format!("{name} has {len} elements and {needed} are needed"),
        )),
        None => Ok(()),
    }
}

/// Sizes as kernels take them.
fn sizes<const N: usize>(function: &Function, sizes: [usize; N]) -> Result<[u32; N]> {
    let mut narrow = [0; N];
    for (narrow, size) in narrow.iter_mut().zip(sizes) {
        *narrow = u32::try_from(size)
            .map_err(|_| refused(function, format!("a size of {size} exceeds 32 bits")))?;
    }
    Ok(narrow)
}
