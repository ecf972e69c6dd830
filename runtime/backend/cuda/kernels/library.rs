//! The embedded images, and how much of them is compiled.
//!
//! A driver compiles all that it is given, and for a whole image takes most of a minute. So the
//! kernels that every model needs are compiled together, and those of attention one by one when
//! they are needed: they are large, each is for heads of one size, and a model has one.

use std::sync::OnceLock;

use cuda_std::Kernel;

use crate::driver::{Context, DriverError, Function, Module, PtxImage, Result};

/// What `build.rs` compiled, the most portable first.
const IMAGES: [&str; 2] = [
    include_str!(concat!(env!("OUT_DIR"), "/kernels.sm_80.ptx")),
    include_str!(concat!(env!("OUT_DIR"), "/kernels.sm_90a.ptx")),
];

/// How the names begin of kernels that are compiled one by one, or that only tests launch.
const APART: [&str; 7] = [
    "decode_attention",
    "decode_scores",
    "kcache_attention",
    "prefill_attention",
    "select_rows",
    "v_combine",
    "v_sum",
];

/// The image that was taken, for kernels that are compiled later.
#[derive(Clone)]
pub struct Library {
    context: Context,
    image: PtxImage<'static>,
}

impl Library {
    /// Compiles what every model needs of the best image that the device takes.
    pub fn open(context: &Context) -> Result<(Module, Self)> {
        let images = IMAGES.map(PtxImage::new);
        let images: Vec<PtxImage<'static>> = images.into_iter().collect::<Result<_>>()?;
        let texts: Vec<String> = images.iter().map(|image| image.only(is_common)).collect();
        let common: Vec<PtxImage<'_>> = texts
            .iter()
            .map(|text| PtxImage::new(text))
            .collect::<Result<_>>()?;
        let module = Module::load(context, "kcache", &common)?;
        let taken = |image: &PtxImage<'_>| image.architecture == module.architecture();
        let image = images
            .into_iter()
            .find(taken)
            .ok_or_else(|| DriverError::InvalidArgument("a module of none of the images".into()))?;
        let context = context.clone();
        Ok((module, Self { context, image }))
    }

    /// Compiles a kernel.
    fn function(&self, kernel: &Kernel) -> Result<Function> {
        let text = self.image.only(|name| name == kernel.name);
        let image = PtxImage::new(&text)?;
        Module::load(&self.context, kernel.name, &[image])?.function(kernel.name)
    }
}

/// Whether a kernel is compiled with the others. The backend computes in bf16.
fn is_common(name: &str) -> bool {
    let is_apart = APART.iter().any(|start| name.starts_with(start));
    !is_apart && !name.ends_with("_f16")
}

/// The sizes of a head that there are kernels for.
pub const HEAD_DIMS: [usize; 4] = [64, 96, 128, 256];

/// Kernels for heads of different sizes, each compiled when it is first asked for.
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
    /// [`DriverError::Launch`] where there is none, [`DriverError::Module`] where it cannot be
    /// compiled.
    pub fn of(&self, dim: usize) -> Result<&Function> {
        let found = self.kernels.iter().find(|(size, ..)| *size == dim);
        let (_, kernel, compiled) = found.ok_or_else(|| self.no_kernel(dim))?;
        if let Some(function) = compiled.get() {
            return Ok(function);
        }
        let function = self.library.function(kernel)?;
        Ok(compiled.get_or_init(|| function))
    }

    fn no_kernel(&self, dim: usize) -> DriverError {
        DriverError::Launch {
            kernel: self
                .kernels
                .first()
                .map_or("", |(_, kernel, _)| kernel.name)
                .to_owned(),
            reason: format!("heads of {dim} elements, and there are kernels for {HEAD_DIMS:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use gpu_kernels::decode_attention::{DECODE_ATTENTION_64_BF16, DECODE_ATTENTION_96_BF16};
    use gpu_kernels::rmsnorm::RMSNORM_BF16;

    use super::*;
    use crate::driver::Device;

    #[test]
    fn attention_is_compiled_for_the_heads_that_there_are() {
        let context = Context::new(Device::open(0).unwrap()).unwrap();
        let (module, library) = Library::open(&context).unwrap();
        module.function(RMSNORM_BF16.name).unwrap();
        for name in [
            DECODE_ATTENTION_64_BF16.name,
            "rmsnorm_f16",
            "v_sum_64_bf16",
        ] {
            assert!(module.function(name).is_err(), "{name}");
        }
        let kernels = [
            (64, &DECODE_ATTENTION_64_BF16),
            (96, &DECODE_ATTENTION_96_BF16),
        ];
        let kernels = ByHead::new(&library, kernels);
        assert_eq!(kernels.compiled().count(), 0);
        let function = kernels.of(64).unwrap();
        assert_eq!(function.name(), DECODE_ATTENTION_64_BF16.name);
        assert!(std::ptr::eq(function, kernels.of(64).unwrap()));
        assert_eq!(kernels.compiled().collect::<Vec<_>>(), [64]);
        let message = kernels.of(80).unwrap_err().to_string();
        assert!(message.contains("heads of 80"), "{message}");
    }
}
