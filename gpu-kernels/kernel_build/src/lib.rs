//! From the `gpu-kernels` crate to PTX, and from PTX to a table of what each kernel uses.
//!
//! The steps: [`Toolchain::find`] looks for a compiler that can, [`compile`] runs it and writes the
//! launch bounds into the PTX, [`assemble`] runs the assembler and reads its report. `build.rs`
//! uses the first two, the `kernels` program all three.

mod architecture;
mod assemble;
mod compile;
mod error;
mod launch_bounds;
mod toolchain;

pub use architecture::Architecture;
pub use assemble::{KernelResources, assemble, parse_report};
pub use compile::compile;
pub use error::Error;
pub use launch_bounds::write_launch_bounds;
pub use toolchain::Toolchain;
