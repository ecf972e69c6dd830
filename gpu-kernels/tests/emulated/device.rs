//! The device that the tests run on: here, its emulation.

pub use cuda_std::emulation::{Buffer, Findings as LaunchError, Gpu, LaunchConfig};

/// Whether sizes are tested that take the emulation too long.
pub fn large() -> bool {
    false
}

/// Whether there are Hopper's matrix instructions.
pub fn has_wgmma() -> bool {
    true
}
