//! Models: opened, then loaded.

use std::ffi::{c_char, c_void};

use super::boundary;
use super::handle::Object;
use super::input;
use super::model_state::{Opened, Source, State};
use super::status::kcache_status;
use super::versioned::{self, Versioned};
use crate::Error;

/// A model: its files, its tokenizer, and, once loaded, its weights on a device.
///
/// Made by kcache_model_open(), freed by kcache_model_free(); contexts and token
/// streams of it stay usable after that. Functions that take a const pointer may
/// be called from any number of threads at once; the others from one at a time,
/// and not beside any other.
pub struct kcache_model {
    _opaque: (),
}

impl Object for kcache_model {
    const NAME: &'static str = "model";
    type Value = State;
    type Shared = ();
}

/// A function of the caller's that is told what kcache chose: which device and
/// why, which memory plan. `message` is one line without its end and lives until
/// the function returns. Called by the thread that called kcache, within the call.
pub type kcache_log_callback =
    Option<unsafe extern "C" fn(message: *const c_char, user_data: *mut c_void)>;

/// A function of the caller's that is told how many of the weights' bytes are
/// loaded. Returns 1 to go on and 0 to cancel. Called by the thread that called
/// kcache, within the call.
pub type kcache_progress_callback =
    Option<unsafe extern "C" fn(done: u64, total: u64, user_data: *mut c_void) -> i32>;

/// Settings of kcache_model_open().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct kcache_model_params {
    /// sizeof(kcache_model_params)
    pub struct_size: usize,
    /// A Hugging Face directory or a GGUF file, UTF-8. Must not be NULL. The
    /// files must stay as they are until the model and its contexts are freed,
    /// unless copy_weights is 1.
    pub path: *const c_char,
    /// "auto", "cpu", "cuda" or "cuda:N"; NULL is "auto": the first GPU that can
    /// run the model, else the CPU.
    pub device: *const c_char,
    /// 1: the weights are read into memory when the model is opened, and the
    /// files may then change; 0: they are mapped, which is quick and shared.
    pub copy_weights: u32,
    /// 0.
    pub reserved: u32,
    /// CPU threads; 0: one for each processor that the system grants.
    pub n_threads: usize,
    /// Is told what was chosen; may be NULL. Called during kcache_model_open()
    /// and kcache_context_new().
    pub log: kcache_log_callback,
    /// Passed to log.
    pub log_user_data: *mut c_void,
}

// SAFETY: pointers, an optional function, sizes, and a pair of 32 bits.
unsafe impl Versioned for kcache_model_params {
    const NAME: &'static str = "kcache_model_params";
    const FIRST_SIZE: usize = 7 * size_of::<usize>();

    fn initial() -> Self {
        Self {
            struct_size: size_of::<Self>(),
            path: std::ptr::null(),
            device: std::ptr::null(),
            copy_weights: 0,
            reserved: 0,
            n_threads: 0,
            log: None,
            log_user_data: std::ptr::null_mut(),
        }
    }
}

/// Fills `params` with the defaults; `struct_size` is sizeof(*params).
/// KCACHE_STATUS_INVALID_ARGUMENT for NULL or a size that no version had.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_model_params_default(
    params: *mut kcache_model_params,
    struct_size: usize,
) -> kcache_status {
    // SAFETY: the caller's promise.
    unsafe { versioned::default(params, struct_size) }
}

/// Opens a model: reads and checks everything but the weights, and chooses the
/// device. Quick; what can be asked of a model without its weights can be asked now.
///
/// `*model` is written in any case, unless `model` is NULL, and must be freed:
/// after a failure it is there for kcache_model_message().
///
/// KCACHE_STATUS_MODEL for files that are missing, damaged or not supported,
/// KCACHE_STATUS_DEVICE for a device that cannot be used,
/// KCACHE_STATUS_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_model_open(
    params: *const kcache_model_params,
    model: *mut *mut kcache_model,
) -> kcache_status {
    // SAFETY: the caller's promise, here and below.
    unsafe {
        boundary::create(model, State::Failed, |handle| {
            let params = versioned::read(params)?;
            let path = input::text("path", params.path)?;
            *handle.write()? = State::Opened(Box::new(Opened::new(path, Source::new(&params)?)?));
            Ok(())
        })
    }
}

/// Loads the weights to the device. `progress` may be NULL.
///
/// After a failure the model is opened and not loaded, as before the call:
/// KCACHE_STATUS_CANCELLED if `progress` returned 0, KCACHE_STATUS_OUT_OF_MEMORY,
/// KCACHE_STATUS_DEVICE, KCACHE_STATUS_MODEL. Loading a loaded model does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_model_load(
    model: *mut kcache_model,
    progress: kcache_progress_callback,
    user_data: *mut c_void,
) -> kcache_status {
    let mut progress = |done, total| {
        let Some(progress) = progress else {
            return Ok(());
        };
        // SAFETY: the caller's function, as the header says.
        match unsafe { progress(done, total, user_data) } {
            0 => Err(Error::Cancelled),
            _ => Ok(()),
        }
    };
    // SAFETY: the caller's promise.
    unsafe { boundary::call(model, |handle| handle.write()?.load(&mut progress)) }
}

/// Frees the model and makes `*model` NULL. NULL, and a pointer to NULL, are fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_model_free(model: *mut *mut kcache_model) {
    // SAFETY: the caller's promise.
    unsafe { boundary::free(model) }
}

/// Copies the text of the calling thread's last call about this model, if that
/// failed, else an empty text, to `buffer` of `capacity` bytes; what does not fit
/// is cut off. Returns the length of the whole text without its NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_model_message(
    model: *const kcache_model,
    buffer: *mut c_char,
    capacity: usize,
) -> usize {
    // SAFETY: the caller's promise.
    unsafe { boundary::message(model, buffer, capacity) }
}
