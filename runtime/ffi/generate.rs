//! A prompt and what follows it, in one call.

use std::ffi::{c_char, c_void};
use std::ops::ControlFlow;

use super::boundary;
use super::context::{kcache_context, not_made};
use super::failure::Result;
use super::handle::Handle;
use super::input;
use super::sampler::kcache_sampling_params;
use super::sequence::kcache_sequence;
use super::statistics::kcache_statistics;
use super::status::kcache_status;
use super::versioned::{self, Versioned};
use crate::engine::{GenerateOptions, Piece};

/// Stands for no token where text comes that was held back until the end.
pub const KCACHE_NO_TOKEN: u32 = u32::MAX;

/// A function of the caller's that is shown a generated token and the text that it
/// completed: `text_length` bytes of UTF-8 and a NUL, perhaps no byte, since part
/// of a character or of a stop string waits. They live until the function
/// returns. Returns 1 to go on and 0 to stop. Called by the thread that called
/// kcache, within the call.
pub type kcache_token_callback = Option<
    unsafe extern "C" fn(
        token: u32,
        text: *const c_char,
        text_length: usize,
        user_data: *mut c_void,
    ) -> i32,
>;

/// Settings of kcache_generate().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct kcache_generate_params {
    /// sizeof(kcache_generate_params)
    pub struct_size: usize,
    /// How tokens are drawn; NULL: the most likely one is taken. See
    /// kcache_model_get_sampling() for what the model's files recommend.
    pub sampling: *const kcache_sampling_params,
    /// Tokens to generate at most; 0: until the context is full.
    pub max_new_tokens: usize,
    /// The text ends before the first of these; may be NULL if n_stop is 0.
    pub stop: *const *const c_char,
    /// Number of stop strings.
    pub n_stop: usize,
    /// Tokens that end the text and are not shown, such as the model's end
    /// tokens; may be NULL if n_stop_tokens is 0.
    pub stop_tokens: *const u32,
    /// Number of stop tokens.
    pub n_stop_tokens: usize,
    /// Is shown each token; may be NULL.
    pub on_token: kcache_token_callback,
    /// Passed to on_token.
    pub user_data: *mut c_void,
    /// 1: the text goes on from the prompt's last word; 0: it starts afresh, as
    /// a chat reply does.
    pub continues_text: u32,
    /// 1: the model's own end tokens do not end the text.
    pub ignore_end_tokens: u32,
}

// SAFETY: pointers, an optional function, sizes, and a pair of 32 bits.
unsafe impl Versioned for kcache_generate_params {
    const NAME: &'static str = "kcache_generate_params";
    const FIRST_SIZE: usize = size_of::<Self>();

    fn initial() -> Self {
        Self {
            struct_size: size_of::<Self>(),
            sampling: std::ptr::null(),
            max_new_tokens: 0,
            stop: std::ptr::null(),
            n_stop: 0,
            stop_tokens: std::ptr::null(),
            n_stop_tokens: 0,
            on_token: None,
            user_data: std::ptr::null_mut(),
            continues_text: 1,
            ignore_end_tokens: 0,
        }
    }
}

/// Fills `params` with the defaults; `struct_size` is sizeof(*params).
/// KCACHE_STATUS_INVALID_ARGUMENT for NULL or a size that no version had.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_generate_params_default(
    params: *mut kcache_generate_params,
    struct_size: usize,
) -> kcache_status {
    // SAFETY: the caller's promise.
    unsafe { versioned::default(params, struct_size) }
}

/// Appends `n_prompt` tokens to `sequence` and generates what follows. NULL for
/// `params` stands for the defaults. If `statistics` is not NULL, whose
/// struct_size the caller has set, it is filled. Texts of failures are the
/// context's.
///
/// KCACHE_STATUS_OK whatever ended the text, also a cancel while it was
/// generated: statistics says which. The sequence then holds the prompt and all
/// tokens but the last drawn; the next prompt begins with that, or with what
/// kcache_sequence_keep_prefix() leaves.
///
/// KCACHE_STATUS_CONTEXT_FULL and KCACHE_STATUS_INVALID_ARGUMENT before any work;
/// KCACHE_STATUS_CANCELLED during the prompt, whose finished chunks the sequence
/// holds; KCACHE_STATUS_OUT_OF_MEMORY and KCACHE_STATUS_DEVICE leave all finished
/// chunks and steps in the sequence.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_generate(
    context: *mut kcache_context,
    sequence: *mut kcache_sequence,
    prompt: *const u32,
    n_prompt: usize,
    params: *const kcache_generate_params,
    statistics: *mut kcache_statistics,
) -> kcache_status {
    // SAFETY: the caller's promise, here and below.
    unsafe {
        boundary::call(context, |handle| {
            let prompt = input::array("prompt", prompt, n_prompt)?;
            let params = versioned::read_or_initial(params)?;
            let mut context = handle.write()?;
            let context = context.as_mut().ok_or_else(not_made)?;
            let options = params.options(&context.end_tokens)?;
            if !statistics.is_null() {
                versioned::read(statistics)?;
            }
            let sequence = Handle::open(sequence)?;
            let mut sequence = sequence.write()?;
            let (reason, stats) = context.engine.generate(
                &mut **sequence,
                prompt,
                options,
                handle.shared.clone(),
                &mut |piece| params.show(piece),
            )?;
            match statistics.is_null() {
                true => Ok(()),
                false => versioned::write(statistics, &kcache_statistics::new(reason, &stats)),
            }
        })
    }
}

impl kcache_generate_params {
    /// # Safety
    /// The pointers are as the header says.
    unsafe fn options(&self, end_tokens: &[u32]) -> Result<GenerateOptions> {
        // SAFETY: passed on, here and below.
        let (sampling, stop, stop_tokens) = unsafe {
            (
                versioned::read_or_initial(self.sampling)?.params(),
                input::array("stop", self.stop, self.n_stop)?,
                input::array("stop_tokens", self.stop_tokens, self.n_stop_tokens)?,
            )
        };
        let stop = stop
            .iter()
            // SAFETY: passed on.
            .map(|&text| unsafe { input::text("a stop string", text) }.map(str::to_owned));
        let mut stop_ids = stop_tokens.to_vec();
        if !input::flag("ignore_end_tokens", self.ignore_end_tokens)? {
            stop_ids.extend_from_slice(end_tokens);
        }
        Ok(GenerateOptions {
            sampling,
            max_new_tokens: input::count(self.max_new_tokens),
            stop: stop.collect::<Result<_>>()?,
            stop_ids,
            continues_text: input::flag("continues_text", self.continues_text)?,
        })
    }

    fn show(&self, piece: Piece) -> ControlFlow<()> {
        let Some(on_token) = self.on_token else {
            return ControlFlow::Continue(());
        };
        let length = piece.text.len();
        let mut text = piece.text.into_bytes();
        text.push(0);
        let token = piece.token.unwrap_or(KCACHE_NO_TOKEN);
        // SAFETY: the caller's function, as the header says; the text ends with a NUL.
        match unsafe { on_token(token, text.as_ptr().cast(), length, self.user_data) } {
            0 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}
