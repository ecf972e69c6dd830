//! From logits to a token, for callers that decode themselves.

use std::ffi::c_char;

use super::boundary;
use super::failure::Failure;
use super::handle::Object;
use super::input;
use super::model::kcache_model;
use super::status::kcache_status;
use super::versioned::{self, Versioned};
use crate::engine::{Sampler, SamplingParams};

/// Draws tokens; the same parameters and logits give the same tokens.
///
/// Made by kcache_sampler_new(), freed by kcache_sampler_free(). One call at a time.
pub struct kcache_sampler {
    _opaque: (),
}

impl Object for kcache_sampler {
    const NAME: &'static str = "sampler";
    /// `None` where it could not be made.
    type Value = Option<Sampler>;
    type Shared = ();
}

/// How tokens are drawn. The steps apply in the order repetition_penalty,
/// temperature, top_k, top_p, min_p.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct kcache_sampling_params {
    /// sizeof(kcache_sampling_params)
    pub struct_size: usize,
    /// Seed of the draws.
    pub seed: u64,
    /// Keeps the most likely tokens; 0 is off.
    pub top_k: usize,
    /// Divides the logits; 0 takes the most likely token.
    pub temperature: f32,
    /// Keeps the fewest tokens that hold this probability; 1 is off.
    pub top_p: f32,
    /// Drops tokens below this share of the most likely one's probability; 0 is off.
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of tokens already in the
    /// sequence; 1 is off.
    pub repetition_penalty: f32,
}

// SAFETY: numbers, and four of 32 bits in a row.
unsafe impl Versioned for kcache_sampling_params {
    const NAME: &'static str = "kcache_sampling_params";
    const FIRST_SIZE: usize = size_of::<Self>();

    fn initial() -> Self {
        Self::of(&SamplingParams::greedy())
    }
}

impl kcache_sampling_params {
    fn of(params: &SamplingParams) -> Self {
        Self {
            struct_size: size_of::<Self>(),
            seed: params.seed,
            top_k: params.top_k,
            temperature: params.temperature,
            top_p: params.top_p,
            min_p: params.min_p,
            repetition_penalty: params.repetition_penalty,
        }
    }

    /// The engine's parameters; their ranges are not checked.
    pub fn params(&self) -> SamplingParams {
        SamplingParams {
            repetition_penalty: self.repetition_penalty,
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            seed: self.seed,
        }
    }
}

/// Fills `params` so that the most likely token is taken; `struct_size` is
/// sizeof(*params). KCACHE_STATUS_INVALID_ARGUMENT for NULL or a size that no
/// version had.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_sampling_params_default(
    params: *mut kcache_sampling_params,
    struct_size: usize,
) -> kcache_status {
    // SAFETY: the caller's promise.
    unsafe { versioned::default(params, struct_size) }
}

/// Fills `params`, whose struct_size the caller has set, with what the model's
/// files recommend: greedy unless they say to sample. The seed is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_model_get_sampling(
    model: *const kcache_model,
    params: *mut kcache_sampling_params,
) -> kcache_status {
    // SAFETY: the caller's promise, here and below.
    unsafe {
        boundary::call(model, |handle| {
            let recommended = kcache_sampling_params::of(&handle.read()?.facts()?.sampling);
            versioned::write(params, &recommended)
        })
    }
}

/// Makes a sampler. NULL for `params` stands for the defaults.
///
/// `*sampler` is written in any case, unless `sampler` is NULL, and must be freed:
/// after a failure it is there for kcache_sampler_message().
/// KCACHE_STATUS_INVALID_ARGUMENT for params out of range.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_sampler_new(
    params: *const kcache_sampling_params,
    sampler: *mut *mut kcache_sampler,
) -> kcache_status {
    // SAFETY: the caller's promise, here and below.
    unsafe {
        boundary::create(sampler, None, |handle| {
            let params = versioned::read_or_initial(params)?;
            *handle.write()? = Some(Sampler::new(params.params())?);
            Ok(())
        })
    }
}

/// Draws the token that follows `history` from `n_logits` logits and writes it
/// to `token`. The history, which may be NULL if `n_history` is 0, is what
/// repetition_penalty looks at.
///
/// KCACHE_STATUS_INVALID_ARGUMENT, also for a logit that is NaN.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_sampler_sample(
    sampler: *mut kcache_sampler,
    logits: *const f32,
    n_logits: usize,
    history: *const u32,
    n_history: usize,
    token: *mut u32,
) -> kcache_status {
    // SAFETY: the caller's promise, here and below.
    unsafe {
        boundary::call(sampler, |handle| {
            let logits = input::array("logits", logits, n_logits)?;
            let history = input::array("history", history, n_history)?;
            if token.is_null() {
                return Err(Failure::argument("token is NULL"));
            }
            let mut sampler = handle.write()?;
            let sampler = sampler
                .as_mut()
                .ok_or_else(|| Failure::argument("the sampler could not be made"))?;
            token.write(sampler.sample(logits, history)?);
            Ok(())
        })
    }
}

/// Frees the sampler and makes `*sampler` NULL. NULL, and a pointer to NULL, are fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_sampler_free(sampler: *mut *mut kcache_sampler) {
    // SAFETY: the caller's promise.
    unsafe { boundary::free(sampler) }
}

/// Copies the text of the calling thread's last call about this sampler, if that
/// failed, else an empty text, to `buffer` of `capacity` bytes; what does not fit
/// is cut off. Returns the length of the whole text without its NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_sampler_message(
    sampler: *const kcache_sampler,
    buffer: *mut c_char,
    capacity: usize,
) -> usize {
    // SAFETY: the caller's promise.
    unsafe { boundary::message(sampler, buffer, capacity) }
}
