//! Kernels, compiled by the driver for its device.

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::Arc;

use super::image::by_preference;
use super::jit::{Compiled, compile};
use super::parameters::{Entry, entries};
use super::sys::{CUfunction, CUmodule, Code, cuModuleGetFunction, cuModuleUnload};
use super::{Architecture, Context, DriverError, Function, PtxImage, Result};

/// Loaded kernels. Clones are the same module, which lives as long as any of
/// its functions.
#[derive(Clone, Debug)]
pub struct Module(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    context: Context,
    name: String,
    architecture: Architecture,
    log: String,
    entries: HashMap<String, Entry>,
    raw: RawModule,
}

/// The driver's handle.
#[derive(Clone, Copy, Debug)]
struct RawModule(CUmodule);

// SAFETY: the driver takes modules from any thread at any time.
unsafe impl Send for RawModule {}
// SAFETY: as above.
unsafe impl Sync for RawModule {}

impl Module {
    /// Loads the best of `images` that the device and its driver take; `name`
    /// stands for them in errors.
    ///
    /// # Errors
    /// [`DriverError::Module`] if none can be loaded, with the reason for the
    /// best one and what its compiler said; [`DriverError::DeviceLost`].
    pub fn load(context: &Context, name: &str, images: &[PtxImage<'_>]) -> Result<Self> {
        let _current = context.enter()?;
        let mut refused = None;
        for image in by_preference(images, context.device().capability) {
            let failed = match compile(image) {
                Ok(compiled) => {
                    log::debug!(
                        "module {name}: compiled the image for {}",
                        image.architecture
                    );
                    return Ok(Self::new(context, name, image, compiled));
                }
                Err(failed) => failed,
            };
            if failed.failure.code.is_sticky() {
                return Err(context.fail(failed.failure));
            }
            // The reason that counts is the best image's. A lesser one may suit
            // an older driver; other faults it would share.
            log::warn!("module {name}: {}", failed.explain(image, context.device()));
            let older_may_do = failed.failure.code == Code::UNSUPPORTED_PTX_VERSION;
            refused.get_or_insert_with(|| failed.explain(image, context.device()));
            if !older_may_do {
                break;
            }
        }
        let reason = refused.unwrap_or_else(|| no_image(images, context));
        Err(refusal(context, name, reason))
    }

    fn new(context: &Context, name: &str, image: &PtxImage<'_>, compiled: Compiled) -> Self {
        Self(Arc::new(Inner {
            context: context.clone(),
            name: name.to_owned(),
            architecture: image.architecture,
            log: compiled.log,
            entries: entries(image.text),
            raw: RawModule(compiled.module),
        }))
    }

    /// The kernel called `name`.
    ///
    /// # Errors
    /// [`DriverError::Module`] if there is none, or its parameters are not
    /// understood; [`DriverError::DeviceLost`].
    pub fn function(&self, name: &str) -> Result<Function> {
        let Inner {
            context,
            entries,
            raw,
            ..
        } = &*self.0;
        let refused = || {
            let reason = format!("no kernel {name:?}, or none whose parameters are understood");
            refusal(context, &self.0.name, reason)
        };
        let entry = entries.get(name).ok_or_else(refused)?;
        let symbol = CString::new(name).map_err(|_| refused())?;
        let _current = context.enter()?;
        let mut function: CUfunction = std::ptr::null_mut();
        // SAFETY: `symbol` is terminated; one handle is written.
        let result = unsafe { cuModuleGetFunction(&mut function, raw.0, symbol.as_ptr()) };
        context.check("cuModuleGetFunction", result)?;
        Function::new(self, name, function, entry.clone())
    }

    /// Which image was taken.
    pub fn architecture(&self) -> Architecture {
        self.0.architecture
    }

    /// What the driver's compiler said, for example on registers and spills.
    pub fn compiler_log(&self) -> &str {
        &self.0.log
    }

    /// The context that it is loaded in.
    pub fn context(&self) -> &Context {
        &self.0.context
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let module = self.raw.0;
        // Kernels that are queued must not find their code gone.
        // SAFETY: no function refers to the module, and nothing runs it.
        self.context
            .release_when_idle(|| unsafe { cuModuleUnload(module) });
    }
}

fn refusal(context: &Context, module: &str, reason: String) -> DriverError {
    DriverError::Module {
        module: module.to_owned(),
        device: context.device().to_string(),
        reason,
    }
}

fn no_image(images: &[PtxImage<'_>], context: &Context) -> String {
    let names: Vec<String> = images.iter().map(|i| i.architecture.to_string()).collect();
    format!(
        "compute capability {} runs none of the images for {}",
        context.device().capability,
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::testing::{KERNELS, context};

    fn load(texts: &[&str]) -> Result<Module> {
        let images: Result<Vec<_>> = texts.iter().map(|text| PtxImage::new(text)).collect();
        Module::load(&context(), "test kernels", &images?)
    }

    #[test]
    fn the_best_image_is_taken_and_its_kernels_found() {
        let hopper = KERNELS.replace("sm_80", "sm_90a").replace("7.8", "8.0");
        let module = load(&[KERNELS, &hopper]).unwrap();
        let capability = module.context().device().capability;
        let expected = match (capability.major, capability.minor) {
            (9, 0) => "sm_90a",
            _ => "sm_80",
        };
        assert_eq!(module.architecture().to_string(), expected);
        assert_eq!(module.function("vector_add").unwrap().name(), "vector_add");
        for name in ["vector_sub", "vector\0add", ""] {
            let message = module.function(name).unwrap_err().to_string();
            assert!(
                message.contains(&format!("no kernel {name:?}")),
                "{message}"
            );
            assert!(message.contains("test kernels"), "{message}");
        }
    }

    #[test]
    fn ptx_that_is_too_new_is_explained_and_an_older_image_tried() {
        let newer = KERNELS.replace(".version 7.8", ".version 99.0");
        let message = load(&[&newer]).unwrap_err().to_string();
        assert!(message.contains("PTX 99.0"), "{message}");
        assert!(message.contains("update the NVIDIA driver"), "{message}");
        assert!(message.contains("(222)"), "{message}");
        let newer = newer.replace("sm_80", "sm_86");
        let module = load(&[&newer, KERNELS]).unwrap();
        assert_eq!(module.architecture().to_string(), "sm_80");
    }

    #[test]
    fn invalid_ptx_comes_back_with_the_compilers_words() {
        let wrong = KERNELS.replace("add.f32", "add.nonsense");
        let message = load(&[&wrong]).unwrap_err().to_string();
        assert!(message.contains("(218)"), "{message}");
        assert!(message.contains("compiler says"), "{message}");
        assert!(message.contains("nonsense"), "{message}");
    }

    #[test]
    fn images_for_other_devices_are_refused_by_name() {
        let other = KERNELS.replace("sm_80", "sm_70a");
        let message = load(&[&other]).unwrap_err().to_string();
        assert!(message.contains("sm_70a"), "{message}");
        let capability = context().device().capability.to_string();
        assert!(message.contains(&capability), "{message}");
        assert!(load(&[]).is_err());
    }
}
