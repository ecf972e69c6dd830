//! The CUDA driver's functions, from a driver that is opened when first used.
//!
//! cust declares them and expects the linker to find them in `libcuda`. Here
//! the linker finds the trampolines of [`entry_points`] instead, and
//! [`library`] points those at the driver of the machine, if it has one.
//!
//! Nothing outside this folder names cust, and none of its own code is linked:
//! that calls functions which have no trampoline.

mod code;
mod entry_points;
mod library;
mod profiler;
mod recent;

pub use code::{Code, Failure};
pub use library::CudaVersion;

pub(super) use code::outcome;
pub(super) use cust::sys::{
    CUcontext, CUdevice, CUdevice_attribute, CUdeviceptr, CUevent, CUfunction,
    CUfunction_attribute, CUgraph, CUgraphExec, CUjit_option, CUmodule, CUresult, CUstream,
    CUstreamCaptureMode,
};
pub(super) use entry_points::*;
pub(super) use library::driver;
pub(super) use profiler::{outcome_of, profiler_functions};
pub(super) use recent::{LaunchAttribute, LaunchConfig, TensorLayout, TensorMapBits};
