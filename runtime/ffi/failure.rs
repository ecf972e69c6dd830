//! Why a body of a C function ended early.

use super::status::kcache_status;
use crate::Error;
use crate::driver::DriverError;

/// A status other than ok, and the text for the handle.
#[derive(Debug)]
pub struct Failure {
    pub status: kcache_status,
    pub message: String,
}

/// `Result` with [`Failure`].
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    pub fn new(status: kcache_status, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    pub fn argument(message: impl Into<String>) -> Self {
        Self::new(kcache_status::InvalidArgument, message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::Model(_) => kcache_status::Model,
            Error::InvalidArgument(_) => kcache_status::InvalidArgument,
            Error::ContextFull { .. } => kcache_status::ContextFull,
            Error::OutOfMemory { .. } => kcache_status::OutOfMemory,
            Error::Cancelled => kcache_status::Cancelled,
            Error::Device(error) => match error {
                DriverError::DeviceLost { .. } => kcache_status::DeviceLost,
                DriverError::OutOfMemory { .. } | DriverError::PinnedMemory { .. } => {
                    kcache_status::OutOfMemory
                }
                _ => kcache_status::Device,
            },
        };
        Self::new(status, error.to_string())
    }
}

impl From<kcache_models::Error> for Failure {
    fn from(error: kcache_models::Error) -> Self {
        Error::from(error).into()
    }
}
