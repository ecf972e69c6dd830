//! How far a model is: opened, loaded, or neither.

use std::ffi::c_void;
use std::path::Path;
use std::sync::Arc;

use kcache_models::{Checkpoint, Reading};

use super::engine::{self, AnyModel, Facts, Planned, Wish};
use super::failure::{Failure, Result};
use super::input;
use super::model::{kcache_log_callback, kcache_model_params};
use crate::backend::AnyBackend;
use crate::driver::{DeviceChoice, DriverError, HostLimits};

/// How far a model is.
pub enum State {
    /// It could not be opened.
    Failed,
    /// Files are checked, weights are not loaded.
    Opened(Box<Opened>),
    /// Ready for contexts.
    Loaded(Box<Loaded>),
}

/// A model whose weights are on their device.
pub struct Loaded {
    source: Source,
    facts: Facts,
    model: Arc<dyn AnyModel>,
}

/// A model whose weights are not loaded.
pub struct Opened {
    source: Source,
    facts: Facts,
    checkpoint: Checkpoint,
    backend: AnyBackend,
}

/// What the caller asked for.
#[derive(Clone)]
pub struct Source {
    device: DeviceChoice,
    reading: Reading,
    threads: Option<usize>,
    log: Log,
}

impl Source {
    /// # Errors
    /// For a device that has no such name.
    ///
    /// # Safety
    /// The texts in `params` are as the header says.
    pub unsafe fn new(params: &kcache_model_params) -> Result<Self> {
        // SAFETY: passed on.
        let device = unsafe { input::optional_text("device", params.device)? };
        let device = device.unwrap_or("auto").parse();
        Ok(Self {
            device: device.map_err(|error: DriverError| Failure::argument(error.to_string()))?,
            reading: match input::flag("copy_weights", params.copy_weights)? {
                true => HostLimits::read().copies(),
                false => Reading::Mapped,
            },
            threads: input::count(params.n_threads),
            log: Log {
                callback: params.log,
                user_data: params.log_user_data,
            },
        })
    }
}

impl Opened {
    /// Opens the files at `path`, and the device.
    ///
    /// # Errors
    /// As [`Checkpoint::open_by`] and [`AnyBackend::choose`].
    pub fn new(path: &str, source: Source) -> Result<Self> {
        let checkpoint = Checkpoint::open_by(Path::new(path), source.reading)?;
        let config = &checkpoint.config;
        let chosen = AnyBackend::choose(source.device, source.threads, config)?;
        let facts = Facts::new(&checkpoint, &chosen.backend);
        let remark = chosen.remark.map(|remark| format!(" ({remark})"));
        let (device, remark) = (&facts.device, remark.unwrap_or_default());
        source.log.line(&format!("device: {device}{remark}"));
        Ok(Self {
            source,
            facts,
            checkpoint,
            backend: chosen.backend,
        })
    }
}

impl State {
    /// What the model says of itself.
    ///
    /// # Errors
    /// If it could not be opened.
    pub fn facts(&self) -> Result<&Facts> {
        match self {
            Self::Failed => Err(Failure::argument("the model could not be opened")),
            Self::Opened(opened) => Ok(&opened.facts),
            Self::Loaded(loaded) => Ok(&loaded.facts),
        }
    }

    /// Which context it would be.
    ///
    /// # Errors
    /// As [`engine::plan`], and if the model could not be opened.
    pub fn plan(&self, wish: Wish) -> Result<Planned> {
        Ok(match self {
            Self::Failed => return Err(Failure::argument("the model could not be opened")),
            Self::Opened(opened) => engine::plan(wish, &opened.checkpoint, &opened.backend)?,
            Self::Loaded(loaded) => loaded.model.plan(wish)?,
        })
    }

    /// The model for contexts, and who is told about them.
    ///
    /// # Errors
    /// If it is not loaded.
    pub fn loaded(&self) -> Result<(&Arc<dyn AnyModel>, &Log)> {
        match self {
            Self::Loaded(loaded) => Ok((&loaded.model, &loaded.source.log)),
            _ => Err(Failure::argument(
                "the model is not loaded; call kcache_model_load first",
            )),
        }
    }

    /// Brings the weights to the device. Without effect on a loaded model.
    ///
    /// # Errors
    /// As [`engine::load`]; the model is then as before, if the device still is.
    pub fn load(&mut self, progress: &mut dyn FnMut(u64, u64) -> crate::Result<()>) -> Result<()> {
        let opened = match std::mem::replace(self, Self::Failed) {
            Self::Opened(opened) => opened,
            other => {
                *self = other;
                return self.facts().map(|_| ());
            }
        };
        let Opened {
            source,
            facts,
            checkpoint,
            backend,
        } = *opened;
        match engine::load(checkpoint.clone(), backend, progress) {
            Ok(model) => {
                *self = Self::Loaded(Box::new(Loaded {
                    source,
                    facts,
                    model,
                }));
                Ok(())
            }
            Err(error) => {
                // The backend went with what was loaded. Where it cannot be had
                // again, the first error says why.
                let config = &checkpoint.config;
                let chosen = AnyBackend::choose(source.device, source.threads, config);
                if let Ok(chosen) = chosen {
                    *self = Self::Opened(Box::new(Opened {
                        source,
                        facts,
                        checkpoint,
                        backend: chosen.backend,
                    }));
                }
                Err(error.into())
            }
        }
    }
}

/// The caller's log.
#[derive(Clone, Copy)]
pub struct Log {
    callback: kcache_log_callback,
    user_data: *mut c_void,
}

// SAFETY: the header asks that the pointer may be used by every thread that
// calls kcache with the model.
unsafe impl Send for Log {}
// SAFETY: as above.
unsafe impl Sync for Log {}

impl Log {
    /// Tells `text`, which has no NUL.
    pub fn line(&self, text: &str) {
        if let (Some(callback), Ok(text)) = (self.callback, std::ffi::CString::new(text)) {
            // SAFETY: the caller's function, as the header says.
            unsafe { callback(text.as_ptr(), self.user_data) };
        }
    }
}
