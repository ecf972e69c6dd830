//! Why the driver or a device could not do something.

use super::device::Capability;
use super::sys::{CudaVersion, Failure};

/// Why a call of this module failed. The text says what to do, where that is known.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DriverError {
    /// The machine has no driver.
    #[error("no CUDA driver: {reason}; install the NVIDIA driver, or run on the CPU")]
    NoDriver {
        /// What the loader said.
        reason: String,
    },
    /// The driver is too old for the program.
    #[error(
        "the driver supports CUDA {found} and {needed} or newer is needed: update the NVIDIA driver, or run on the CPU"
    )]
    DriverTooOld {
        /// What the driver supports.
        found: CudaVersion,
        /// What is needed.
        needed: CudaVersion,
    },
    /// The driver is there and does not start.
    #[error("the CUDA driver cannot be used: {reason}")]
    DriverUnusable {
        /// What went wrong, with advice.
        reason: String,
    },
    /// The driver sees no device at all.
    #[error(
        "the CUDA driver sees no device: is there an NVIDIA GPU, and does CUDA_VISIBLE_DEVICES hide it?"
    )]
    NoDevice,
    /// The device asked for is not there.
    #[error("there is no device cuda:{ordinal}: this machine has {count}, counted from cuda:0")]
    NoSuchDevice {
        /// The number asked for.
        ordinal: u32,
        /// How many there are.
        count: u32,
    },
    /// The device is too old for the kernels.
    #[error("{device} has compute capability {found}, and the kernels need {needed} or newer")]
    DeviceUnsupported {
        /// Number and name.
        device: String,
        /// What it has.
        found: Capability,
        /// What is needed.
        needed: Capability,
    },
    /// A fault ended all work on the device in this process.
    #[error("{device} was lost: {cause}; nothing on it can be used any more, restart the program")]
    DeviceLost {
        /// Number and name.
        device: String,
        /// The call that reported the fault.
        cause: Failure,
    },
    /// Device memory ran out.
    #[error(
        "out of memory on {device}: {what} needs {bytes} bytes, {free} of {total} are free; lower the context length or the batch, or keep V in host memory"
    )]
    OutOfMemory {
        /// Number and name.
        device: String,
        /// What the memory was for.
        what: String,
        /// Bytes asked for.
        bytes: u64,
        /// Bytes free, 0 if the driver did not say.
        free: u64,
        /// Bytes of the device.
        total: u64,
    },
    /// Pinned host memory could not be had.
    #[error("cannot pin {wanted} bytes of host memory, {granted} are pinned: {reason}")]
    PinnedMemory {
        /// Bytes asked for, in all.
        wanted: u64,
        /// Bytes that are pinned and stay usable.
        granted: u64,
        /// The limit that was met, with advice.
        reason: String,
    },
    /// Kernels could not be loaded.
    #[error("cannot load the kernels {module} on {device}: {reason}")]
    Module {
        /// The caller's name for the module.
        module: String,
        /// Number and name.
        device: String,
        /// What is wrong, with the compiler's log where there is one.
        reason: String,
    },
    /// A launch was refused before it reached the device.
    #[error("cannot launch {kernel}: {reason}")]
    Launch {
        /// The kernel.
        kernel: String,
        /// The check that failed, with both values.
        reason: String,
    },
    /// An argument is out of its range.
    #[error("{0}")]
    InvalidArgument(String),
    /// Any other failure of the driver.
    #[error("{device}: {failure}")]
    Call {
        /// Number and name.
        device: String,
        /// What was called and what it returned.
        failure: Failure,
    },
}

/// `Result` with [`DriverError`].
pub type Result<T, E = DriverError> = std::result::Result<T, E>;

impl DriverError {
    pub(super) fn argument(message: impl Into<String>) -> Self {
        Self::InvalidArgument(message.into())
    }
}
