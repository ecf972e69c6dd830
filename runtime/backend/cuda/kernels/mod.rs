//! The device kernels: each loaded once, with one checked launch for each.

mod attention;
mod by_head;
mod decode;
mod library;
mod product;
mod rope;
mod rows;

use std::sync::Arc;

use cuda_std::Kernel;

use super::tuning::Tuning;
use crate::driver::{Context, DriverError, Function, LaunchClock, Module, Result};
use by_head::ByHead;
use library::Library;

pub(super) use attention::Prefill;
pub(super) use by_head::HEAD_DIMS;
pub(super) use decode::{
    FusedWorkspace, Places, Rest, Selection, Sequences, Shape, Workspace, mark_words,
    workspace_sizes,
};
pub(super) use product::{Gated, MAX_JOINT, Part, Product};
pub(super) use rope::{Append, Near, Rotation};

/// Every kernel that the backend launches, by family.
pub(super) struct Kernels {
    pub rows: rows::Kernels,
    pub product: product::Kernels,
    pub rope: rope::Kernels,
    pub attention: attention::Kernels,
    pub decode: decode::Kernels,
}

impl Kernels {
    /// Compiles the embedded kernels for the device of `context`, and takes those that `tuning`
    /// names. Their turns are noted by `clock`.
    pub fn load(
        context: &Context,
        tuning: &Tuning,
        clock: Option<Arc<LaunchClock>>,
    ) -> crate::Result<Self> {
        let (module, library) = Library::open(context, clock)?;
        let choices = tuning.of(&module.architecture().to_string())?;
        Ok(Self {
            rows: rows::Kernels::load(&module)?,
            product: product::Kernels::load(&module, choices)?,
            rope: rope::Kernels::load(&module)?,
            attention: attention::Kernels::new(&library, choices),
            decode: decode::Kernels::load((&module, &library), choices)?,
        })
    }

    /// Compiles what heads of `dim` elements need, so that no token waits for it; where rows are
    /// selected, what does that too.
    pub fn prepare(&self, dim: usize, selects: bool) -> Result<()> {
        self.attention.prepare(dim)?;
        self.decode.prepare(dim, selects)
    }
}

fn function(module: &Module, kernel: &Kernel) -> Result<Function> {
    module.function(kernel.name)
}

fn refused(kernel: &str, reason: String) -> DriverError {
    DriverError::Launch {
        kernel: kernel.to_owned(),
        reason,
    }
}

/// Refuses a launch for which one of `buffers`, `(name, elements, elements needed)`, is too short.
fn check_lengths(function: &Function, buffers: &[(&str, usize, usize)]) -> Result<()> {
    match buffers.iter().find(|(_, len, needed)| len < needed) {
        Some((name, len, needed)) => Err(refused(
            function.name(),
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
            .map_err(|_| refused(function.name(), format!("a size of {size} exceeds 32 bits")))?;
    }
    Ok(narrow)
}
