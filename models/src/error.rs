//! The one error type of this crate.

use std::path::{Path, PathBuf};

/// Why a checkpoint could not be opened or used.
///
/// Every message names the file and, where there is one, the key or tensor and
/// the limit that was broken, so that a user can act on it without a debugger.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused to read a file.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is damaged, truncated, or holds values that contradict each other.
    #[error("{}: {message}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Key or tensor name, offset where known, what was found, what was expected.
        message: String,
    },
    /// A well-formed file asks for something this crate does not implement.
    #[error("{}: {message}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What is unsupported, and what is supported instead.
        message: String,
    },
    /// A chat template failed to compile, ran out of fuel, or rejected its messages.
    #[error("chat template: {0}")]
    Template(String),
    /// Text could not be encoded or token ids could not be decoded.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An [`Error::Invalid`] about `path`.
    pub fn invalid(path: &Path, message: impl Into<String>) -> Self {
        Self::Invalid {
            path: path.to_owned(),
            message: message.into(),
        }
    }

    /// An [`Error::Unsupported`] about `path`.
    pub fn unsupported(path: &Path, message: impl Into<String>) -> Self {
        Self::Unsupported {
            path: path.to_owned(),
            message: message.into(),
        }
    }

    /// An [`Error::Io`] about `path`.
    pub fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}
