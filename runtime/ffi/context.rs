//! Contexts: they compute.

use std::ffi::c_char;
use std::sync::Arc;

use super::boundary;
use super::buffer;
use super::context_params::kcache_context_params;
use super::engine::AnyContext;
use super::failure::{Failure, Result};
use super::handle::{Handle, Object};
use super::input;
use super::memory_plan::kcache_memory_plan;
use super::model::kcache_model;
use super::sequence::kcache_sequence;
use super::status::kcache_status;
use super::versioned;
use crate::cache::Selection;
use crate::engine::CancelFlag;

/// The working memory that computes with a model.
///
/// Made by kcache_context_new(), freed by kcache_context_free(); its sequences
/// stay usable with other contexts of the model. One call at a time, but for
/// kcache_context_cancel(). Several contexts may share one model and run on
/// different threads.
pub struct kcache_context {
    _opaque: (),
}

impl Object for kcache_context {
    const NAME: &'static str = "context";
    /// `None` where it could not be made.
    type Value = Option<Computing>;
    type Shared = CancelFlag;
}

/// A context that was made.
pub struct Computing {
    /// What computes.
    pub engine: Box<dyn AnyContext>,
    /// The model's own end tokens.
    pub end_tokens: Vec<u32>,
    selection: Selection,
}

/// What a context that could not be made answers.
pub fn not_made() -> Failure {
    Failure::argument("the context could not be made")
}

/// Makes a context of a loaded model. NULL for `params` stands for the defaults.
///
/// `*context` is written in any case, unless `context` is NULL, and must be
/// freed: after a failure it is there for kcache_context_message().
///
/// KCACHE_STATUS_OUT_OF_MEMORY with the sizes if a sequence of n_ctx tokens cannot
/// fit, KCACHE_STATUS_INVALID_ARGUMENT, KCACHE_STATUS_DEVICE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_context_new(
    model: *const kcache_model,
    params: *const kcache_context_params,
    context: *mut *mut kcache_context,
) -> kcache_status {
    // SAFETY: the caller's promise, here and below.
    unsafe {
        boundary::create(context, None, |handle| {
            let wish = versioned::read_or_initial(params)?.wish()?;
            let model = Handle::open(model)?;
            let state = model.read()?;
            let (model, log) = state.loaded()?;
            let planned = model.plan(wish)?;
            let selection = planned.options.policy.selection;
            log.line(&format!("plan: {}", planned.plan));
            *handle.write()? = Some(Computing {
                engine: Arc::clone(model).context(&planned)?,
                end_tokens: state.facts()?.end_tokens.clone(),
                selection,
            });
            Ok(())
        })
    }
}

/// Frees the context and makes `*context` NULL. NULL, and a pointer to NULL, are fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_context_free(context: *mut *mut kcache_context) {
    // SAFETY: the caller's promise.
    unsafe { boundary::free(context) }
}

/// Copies the text of the calling thread's last call about this context, if that
/// failed, else an empty text, to `buffer` of `capacity` bytes; what does not fit
/// is cut off. Returns the length of the whole text without its NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_context_message(
    context: *const kcache_context,
    buffer: *mut c_char,
    capacity: usize,
) -> usize {
    // SAFETY: the caller's promise.
    unsafe { boundary::message(context, buffer, capacity) }
}

/// What a sequence of this context takes. The caller has set the struct_size of `plan`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_context_get_plan(
    context: *const kcache_context,
    plan: *mut kcache_memory_plan,
) -> kcache_status {
    // SAFETY: the caller's promise, here and below.
    unsafe {
        boundary::call(context, |handle| {
            let context = handle.read()?;
            let context = context.as_ref().ok_or_else(not_made)?;
            let values = kcache_memory_plan::new(context.engine.plan(), context.selection);
            versioned::write(plan, &values)
        })
    }
}

/// Asks for a stop: the call that runs on the context, and every later one,
/// answers KCACHE_STATUS_CANCELLED, or ends its text with KCACHE_FINISH_CANCELLED,
/// at the next prefill chunk or decode step, until kcache_context_clear_cancel().
/// May be called from any thread and from a signal handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_context_cancel(context: *const kcache_context) -> kcache_status {
    // SAFETY: the caller's promise. Nothing here allocates or waits.
    match unsafe { Handle::check(context) } {
        Ok(handle) => {
            handle.shared.cancel();
            kcache_status::Ok
        }
        Err(failure) => failure.status,
    }
}

/// Takes kcache_context_cancel() back, so that calls work again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_context_clear_cancel(
    context: *mut kcache_context,
) -> kcache_status {
    // SAFETY: the caller's promise, here and below.
    unsafe {
        boundary::call(context, |handle| {
            handle.shared.reset();
            Ok(())
        })
    }
}

/// Appends `n_tokens` tokens to `sequence`. If `logits` is not NULL, the logits
/// after the last token are written there: vocab_size of them, for which
/// `capacity` floats must suffice. Texts of failures are the context's.
///
/// KCACHE_STATUS_CONTEXT_FULL, KCACHE_STATUS_INVALID_ARGUMENT and
/// KCACHE_STATUS_BUFFER_TOO_SMALL before any work; KCACHE_STATUS_CANCELLED,
/// KCACHE_STATUS_OUT_OF_MEMORY and KCACHE_STATUS_DEVICE leave the tokens of all
/// finished chunks in the sequence, which can go on from there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_prefill(
    context: *mut kcache_context,
    sequence: *mut kcache_sequence,
    tokens: *const u32,
    n_tokens: usize,
    logits: *mut f32,
    capacity: usize,
) -> kcache_status {
    // SAFETY: the caller's promise, here and below.
    unsafe {
        boundary::call(context, |handle| {
            let tokens = input::array("tokens", tokens, n_tokens)?;
            let mut context = handle.write()?;
            let engine = &mut context.as_mut().ok_or_else(not_made)?.engine;
            check_logits(logits, capacity, engine.vocab_size())?;
            let sequence = Handle::open(sequence)?;
            let mut sequence = sequence.write()?;
            let result = engine.prefill(&mut **sequence, tokens, &handle.shared)?;
            write_logits(&result, logits, capacity)
        })
    }
}

/// A sequence and the token that comes next in it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct kcache_step {
    /// Where the token goes.
    pub sequence: *mut kcache_sequence,
    /// The token.
    pub token: u32,
}

/// Decodes one step of a batch: appends one token to each of `n_steps` different
/// sequences, in one pass over the weights. If `logits` is not NULL, vocab_size
/// logits for each step are written there, one step after the other, for which
/// `capacity` floats must suffice. Texts of failures are the context's.
///
/// On a GPU the sequences of a batch must come from contexts of the same size and
/// policy. After a failure every sequence is as it was before the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_decode(
    context: *mut kcache_context,
    steps: *const kcache_step,
    n_steps: usize,
    logits: *mut f32,
    capacity: usize,
) -> kcache_status {
    // SAFETY: the caller's promise, here and below.
    unsafe {
        boundary::call(context, |handle| {
            let steps = input::array("steps", steps, n_steps)?;
            handle.shared.check()?;
            let mut context = handle.write()?;
            let engine = &mut context.as_mut().ok_or_else(not_made)?.engine;
            let n_logits = n_steps.saturating_mul(engine.vocab_size());
            check_logits(logits, capacity, n_logits)?;
            check_different(steps)?;
            let opened = steps.iter().map(|step| Handle::open(step.sequence));
            let opened = opened.collect::<Result<Vec<_>>>()?;
            let locked = opened.iter().map(|sequence| sequence.write());
            let mut locked = locked.collect::<Result<Vec<_>>>()?;
            let mut batch: Vec<_> = locked
                .iter_mut()
                .zip(steps)
                .map(|(sequence, step)| (&mut ***sequence, step.token))
                .collect();
            let result = engine.decode(&mut batch)?;
            write_logits(&result, logits, capacity)
        })
    }
}

/// # Errors
/// For a sequence that occurs twice.
fn check_different(steps: &[kcache_step]) -> Result<()> {
    let mut sequences: Vec<_> = steps.iter().map(|step| step.sequence).collect();
    sequences.sort_unstable();
    match sequences.windows(2).any(|pair| pair[0] == pair[1]) {
        false => Ok(()),
        true => Err(Failure::argument("two steps are of the same sequence")),
    }
}

/// # Errors
/// For a place for logits that is no array, or too small.
fn check_logits(logits: *mut f32, capacity: usize, needed: usize) -> Result<()> {
    if logits.is_null() {
        return Ok(());
    }
    input::check_array("logits", logits, capacity)?;
    match capacity < needed {
        false => Ok(()),
        true => Err(Failure::new(
            kcache_status::BufferTooSmall,
            format!("logits has room for {capacity} floats and {needed} are needed"),
        )),
    }
}

/// # Safety
/// `logits` is NULL or has room for `capacity` floats.
unsafe fn write_logits(values: &[f32], logits: *mut f32, capacity: usize) -> Result<()> {
    if logits.is_null() {
        return Ok(());
    }
    // SAFETY: passed on.
    unsafe { buffer::fill(values, logits, capacity, std::ptr::null_mut()) }
}
