//! Machines to plan for, which need not be there.

use std::fmt;

use indicatif::BinaryBytes;
use kcache_models::config::ModelConfig;
use kcache_models::weights::WeightSizes;

use super::{Memory, cpu, cuda};
use crate::Result;

/// Where a model would compute, with the bytes that are free there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// A processor.
    Cpu {
        /// Of its memory.
        memory: u64,
    },
    /// A GPU that runs the kernels.
    Gpu {
        /// Of its own memory.
        device: u64,
        /// Of the host's memory, which can all be pinned.
        host: u64,
    },
}

impl Machine {
    /// As [`super::Backend::check`].
    ///
    /// # Errors
    /// [`crate::Error::InvalidArgument`] for a model that the GPU's kernels do not fit.
    pub fn check(&self, config: &ModelConfig) -> Result<()> {
        match self {
            Self::Cpu { .. } => Ok(()),
            Self::Gpu { .. } => cuda::check(config),
        }
    }

    /// As [`super::Backend::prefill_chunk`].
    pub fn prefill_chunk(&self) -> usize {
        match self {
            Self::Cpu { .. } => cpu::PREFILL_CHUNK,
            Self::Gpu { .. } => cuda::PREFILL_CHUNK,
        }
    }

    /// As [`super::Backend::memory`], for a model that is not loaded.
    pub fn memory(&self, config: &ModelConfig, weights: &WeightSizes) -> Memory {
        match *self {
            Self::Cpu { memory } => cpu::memory(weights, Some(memory)),
            Self::Gpu { device, host } => Memory {
                available: Some(device),
                ..cuda::memory(config, weights, Some(host))
            },
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Cpu { memory } => write!(f, "a CPU with {}", BinaryBytes(memory)),
            Self::Gpu { device, host } => {
                let [device, host] = [device, host].map(BinaryBytes);
                write!(f, "a GPU with {device} beside a host with {host}")
            }
        }
    }
}
