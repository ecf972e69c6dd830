//! The embedded images, and how much of them is compiled.
//!
//! A driver compiles all that it is given, and for a whole image takes most of a minute. So the
//! kernels that every model needs are compiled together, and those of attention one by one when
//! they are needed: they are large, each is for heads of one size, and a model has one.

use std::sync::Arc;

use cuda_std::Kernel;

use crate::driver::{Context, DriverError, Function, LaunchClock, Module, PtxImage, Result};

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
    clock: Option<Arc<LaunchClock>>,
}

impl Library {
    /// Compiles what every model needs of the best image that the device takes. The kernels' turns
    /// are noted by `clock`.
    pub fn open(context: &Context, clock: Option<Arc<LaunchClock>>) -> Result<(Module, Self)> {
        let images = IMAGES.map(PtxImage::new);
        let images: Vec<PtxImage<'static>> = images.into_iter().collect::<Result<_>>()?;
        let text = |image: &PtxImage<'_>| noting(clock.as_deref(), image.only(is_common));
        let texts: Vec<String> = images.iter().map(text).collect();
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
        let library = Self {
            context,
            image,
            clock,
        };
        Ok((module, library))
    }

    /// Compiles a kernel.
    pub fn function(&self, kernel: &Kernel) -> Result<Function> {
        let text = self.image.only(|name| name == kernel.name);
        let text = noting(self.clock.as_deref(), text);
        let image = PtxImage::new(&text)?;
        Module::load(&self.context, kernel.name, &[image])?.function(kernel.name)
    }
}

/// The text, with what notes the kernels' turns if there is a clock for them.
fn noting(clock: Option<&LaunchClock>, text: String) -> String {
    match clock {
        Some(clock) => clock.add_to(&text),
        None => text,
    }
}

/// Whether a kernel is compiled with the others. The backend computes in bf16.
fn is_common(name: &str) -> bool {
    let is_apart = APART.iter().any(|start| name.starts_with(start));
    !is_apart && !name.ends_with("_f16")
}

#[cfg(test)]
mod tests {
    use gpu_kernels::decode_attention::DECODE_ATTENTION_64_BF16;
    use gpu_kernels::rmsnorm::RMSNORM_BF16;

    use super::*;
    use crate::driver::Device;

    #[test]
    fn attention_is_compiled_apart() {
        let context = Context::new(Device::open(0).unwrap()).unwrap();
        let (module, library) = Library::open(&context, None).unwrap();
        module.function(RMSNORM_BF16.name).unwrap();
        let attention = DECODE_ATTENTION_64_BF16.name;
        for name in [attention, "rmsnorm_f16", "v_sum_64_bf16"] {
            assert!(module.function(name).is_err(), "{name}");
        }
        let function = library.function(&DECODE_ATTENTION_64_BF16).unwrap();
        assert_eq!(function.name(), attention);
    }
}
