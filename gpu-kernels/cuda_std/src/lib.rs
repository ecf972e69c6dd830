//! Device library for kernels, with an emulation of the device on the host.
//!
//! Names follow rust-cuda's `cuda_std`. A kernel written with this crate has two lives from one
//! source: compiled for `nvptx64-nvidia-cuda` every function here is an instruction or two;
//! compiled for the host, [`emulation`] runs the kernel thread by thread, checks every access to
//! memory and reports races, and needs no GPU.
//!
//! # What a kernel may rely on
//! [`Global`], [`GlobalMut`] and [`Shared`] are addresses. Whoever launches a kernel promises that
//! its arguments point at buffers of the sizes the kernel documents; within that promise reading
//! and writing is safe. The device checks nothing, the emulation checks everything.

#![cfg_attr(target_arch = "nvptx64", no_std)]
#![cfg_attr(
    target_arch = "nvptx64",
    feature(
        asm_experimental_arch,
        core_float_math,
        link_llvm_intrinsics,
        stdarch_nvptx
    )
)]
// The intrinsics keep what inline assembly cannot say: that a call is convergent.
#![cfg_attr(target_arch = "nvptx64", allow(internal_features))]

#[cfg(target_arch = "nvptx64")]
mod device;
#[cfg(not(target_arch = "nvptx64"))]
pub mod emulation;

#[cfg(target_arch = "nvptx64")]
use device as platform;
#[cfg(not(target_arch = "nvptx64"))]
use emulation::intrinsics as platform;

pub mod async_copy;
mod atomic;
pub mod bulk_copy;
mod element;
mod float16;
mod global;
pub mod grid;
pub mod math;
pub mod mbarrier;
pub mod mma;
mod shared;
pub mod thread;
pub mod timer;
pub mod warp;
pub mod wgmma;

pub use atomic::AtomicElement;
pub use bulk_copy::TensorMap;
pub use cuda_std_macros::kernel;
#[cfg(target_arch = "nvptx64")]
#[doc(hidden)]
pub use device::TensorMapBytes;
pub use element::{Element, F32x2, F32x4, U32x2, U32x4};
pub use float16::{Float16, bf16, f16};
pub use global::{Global, GlobalMut};
pub use shared::{Shared, dynamic_shared, swizzled_shared};

/// What the host must know of a kernel to launch it. `#[kernel]` makes one for each kernel.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    /// The entry's name in the PTX.
    pub name: &'static str,
    /// The most threads a block may have.
    pub max_threads: u32,
    /// Blocks that should fit one multiprocessor at once; the register allocation follows it.
    pub min_blocks: u32,
    /// Bytes of each parameter.
    #[cfg(not(target_arch = "nvptx64"))]
    pub parameters: &'static [usize],
    /// Calls it as one thread, with arguments as [`emulation::Argument`] has them.
    #[cfg(not(target_arch = "nvptx64"))]
    pub call: fn(&[Vec<u8>]),
}
