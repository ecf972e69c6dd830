//! What can go wrong between the kernels' source and a checked image.

use std::path::PathBuf;

/// A failure to find the compiler, to compile, or to assemble.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No compiler with a PTX back end and the source of `core`.
    #[error(
        "no compiler for the kernels was found.\n{tried}\
         One of these will do:\n  \
         - on Debian or Ubuntu: apt-get install rustc-web rust-web-src\n  \
         - with rustup: rustup component add rust-src\n\
         or name a rustc that has both in KCACHE_KERNEL_RUSTC"
    )]
    NoToolchain {
        /// A line for each compiler that was looked at, with what it lacks.
        tried: String,
    },
    /// A program could not be started.
    #[error("cannot run {program}: {source}")]
    Start {
        /// The program's path.
        program: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// A program ran and failed.
    #[error("{program} failed on {subject}:\n{output}")]
    Failed {
        /// The program's path.
        program: String,
        /// What it was working on.
        subject: String,
        /// What it printed.
        output: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file's path.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The PTX does not have the shape that the launch bounds are written into.
    #[error("line {line} of the PTX: {reason}")]
    Ptx {
        /// One-based line.
        line: usize,
        /// What was expected.
        reason: &'static str,
    },
}
