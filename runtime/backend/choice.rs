//! The backend of the device that a user asks for.

use kcache_models::config::ModelConfig;

use super::Backend;
use super::cpu::Cpu;
use super::cuda::Cuda;
use crate::Result;
use crate::driver::{Device, DeviceChoice, Placement};

/// A backend that was chosen when the program ran.
pub enum AnyBackend {
    /// The processor.
    Cpu(Cpu),
    /// A CUDA device.
    Cuda(Box<Cuda>),
}

/// A backend, and why it is not the one that a user would expect.
pub struct Chosen {
    /// Where to compute.
    pub backend: AnyBackend,
    /// What kept [`DeviceChoice::Auto`] from using a device.
    pub remark: Option<String>,
}

impl AnyBackend {
    /// The backend of `choice` for a model of `config`; the CPU gets `threads`
    /// threads. What `auto` finds unusable is no error: it takes the CPU.
    ///
    /// # Errors
    /// [`crate::Error::Device`] and [`crate::Error::InvalidArgument`] for a CUDA
    /// device that was asked for and cannot compute the model; as [`Cpu::new`].
    pub fn choose(
        choice: DeviceChoice,
        threads: Option<usize>,
        config: &ModelConfig,
    ) -> Result<Chosen> {
        let remark = match choice.place()? {
            Placement::Cuda(device) => match cuda(device, config) {
                Ok(backend) => {
                    return Ok(Chosen {
                        backend: Self::Cuda(Box::new(backend)),
                        remark: None,
                    });
                }
                Err(error) if choice == DeviceChoice::Auto => Some(error.to_string()),
                Err(error) => return Err(error),
            },
            Placement::Cpu { reason } => reason.map(|reason| reason.to_string()),
        };
        Ok(Chosen {
            backend: Self::Cpu(Cpu::new(threads)?),
            remark,
        })
    }
}

/// The device with its kernels loaded, if they can compute the model.
fn cuda(device: Device, config: &ModelConfig) -> Result<Cuda> {
    let backend = Cuda::new(device)?;
    backend.check(config)?;
    Ok(backend)
}
