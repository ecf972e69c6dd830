//! Kernels for heads of different sizes.

use std::sync::OnceLock;

use cuda_std::Kernel;

use super::{Library, refused};
use crate::driver::{Function, Result};

/// The sizes of a head that there are kernels for.
pub const HEAD_DIMS: [usize; 4] = [64, 96, 128, 256];

/// One kernel for each size of a head, compiled when it is first asked for.
pub struct ByHead {
    library: Library,
    /// By the size of a head.
    kernels: Vec<(usize, &'static Kernel, OnceLock<Function>)>,
}

impl ByHead {
    pub fn new(
        library: &Library,
        kernels: impl IntoIterator<Item = (usize, &'static Kernel)>,
    ) -> Self {
        let kernels = kernels.into_iter();
        Self {
            library: library.clone(),
            kernels: kernels
                .map(|(dim, kernel)| (dim, kernel, OnceLock::new()))
                .collect(),
        }
    }

    /// One for each of [`HEAD_DIMS`].
    pub fn all(library: &Library, kernels: [&'static Kernel; 4]) -> Self {
        Self::new(library, HEAD_DIMS.into_iter().zip(kernels))
    }

    /// Whether there is one for heads of `dim` elements.
    pub fn has(&self, dim: usize) -> bool {
        self.kernels.iter().any(|(size, ..)| *size == dim)
    }

    /// The sizes of heads whose kernels have been asked for.
    pub fn compiled(&self) -> impl Iterator<Item = usize> {
        let kernels = self.kernels.iter();
        kernels.filter_map(|(dim, _, compiled)| compiled.get().map(|_| *dim))
    }

    /// That for heads of `dim` elements.
    ///
    /// # Errors
    /// [`DriverError::Launch`](crate::driver::DriverError::Launch) where there is none, and
    /// [`DriverError::Module`](crate::driver::DriverError::Module) where it cannot be compiled.
    pub fn of(&self, dim: usize) -> Result<&Function> {
        let found = self.kernels.iter().find(|(size, ..)| *size == dim);
        let (_, kernel, compiled) = found.ok_or_else(|| {
            let name = self
                .kernels
                .first()
                .map_or("", |(_, kernel, _)| kernel.name);
            let reason =
                format!("heads of {dim} elements, and there are kernels for {HEAD_DIMS:?}");
            refused(name, reason)
        })?;
        if let Some(function) = compiled.get() {
            return Ok(function);
        }
        let function = self.library.function(kernel)?;
        Ok(compiled.get_or_init(|| function))
    }
}

#[cfg(test)]
mod tests {
    use gpu_kernels::decode_attention::{DECODE_ATTENTION_64_BF16, DECODE_ATTENTION_96_BF16};

    use super::*;
    use crate::driver::{Context, Device};

    #[test]
    fn kernels_are_compiled_when_they_are_asked_for() {
        let context = Context::new(Device::open(0).unwrap()).unwrap();
        let (_, library) = Library::open(&context, None).unwrap();
        let kernels = [
            (64, &DECODE_ATTENTION_64_BF16),
            (96, &DECODE_ATTENTION_96_BF16),
        ];
        let kernels = ByHead::new(&library, kernels);
        assert!(kernels.has(96) && !kernels.has(128));
        assert_eq!(kernels.compiled().count(), 0);
        let function = kernels.of(64).unwrap();
        assert_eq!(function.name(), DECODE_ATTENTION_64_BF16.name);
        assert!(std::ptr::eq(function, kernels.of(64).unwrap()));
        assert_eq!(kernels.compiled().collect::<Vec<_>>(), [64]);
        let message = kernels.of(80).unwrap_err().to_string();
        assert!(message.contains("heads of 80"), "{message}");
    }
}
