//! The one error type of the runtime.

use crate::driver::DriverError;

/// Why a call failed. The text names the value, key, file or size at fault.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The checkpoint could not be read or used.
    #[error(transparent)]
    Model(#[from] kcache_models::Error),
    /// A device or its driver could not do something.
    #[error(transparent)]
    Device(#[from] DriverError),
    /// An argument is out of its range.
    #[error("{0}")]
    InvalidArgument(String),
    /// The tokens do not fit the sequence's context.
    #[error(
        "{new} new tokens after {used} do not fit the context of {n_ctx} tokens; shorten the prompt or raise the context"
    )]
    ContextFull {
        /// Tokens already in the sequence.
        used: usize,
        /// Tokens that were to be added.
        new: usize,
        /// The sequence's limit.
        n_ctx: usize,
    },
    /// Memory could not be had.
    #[error("out of memory: {what} needs {bytes} bytes{}", .available.map(|a| format!(", {a} are available")).unwrap_or_default())]
    OutOfMemory {
        /// What the memory was for.
        what: String,
        /// How much was asked for.
        bytes: u64,
        /// How much there is, where known.
        available: Option<u64>,
    },
    /// The caller's cancel flag was set.
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    /// Whether memory of any kind ran out; less work may still succeed.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(
            self,
            Self::OutOfMemory { .. }
                | Self::Device(DriverError::OutOfMemory { .. } | DriverError::PinnedMemory { .. })
        )
    }

    /// Whether the device is gone for the rest of the process.
    pub fn is_device_lost(&self) -> bool {
        matches!(self, Self::Device(DriverError::DeviceLost { .. }))
    }
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
