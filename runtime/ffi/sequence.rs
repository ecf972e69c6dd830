//! Sequences: one text in progress each.

use std::ffi::c_char;

use super::boundary;
use super::buffer;
use super::context::{kcache_context, not_made};
use super::engine::AnySequence;
use super::failure::Failure;
use super::handle::{Handle, Object};
use super::input;
use super::status::kcache_status;
use super::versioned::{self, Versioned};

/// The tokens of one text, with their K and V.
///
/// Made by kcache_sequence_new(), freed by kcache_sequence_free(). Functions that
/// take a const pointer may be called from any number of threads at once; the
/// others from one at a time, and not beside any other.
pub struct kcache_sequence {
    _opaque: (),
}

impl Object for kcache_sequence {
    const NAME: &'static str = "sequence";
    type Value = Box<dyn AnySequence>;
    type Shared = ();
}

/// Size of a sequence, for kcache_sequence_get_info().
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct kcache_sequence_info {
    /// sizeof(kcache_sequence_info), set by the caller
    pub struct_size: usize,
    /// Tokens whose K and V are held.
    pub n_tokens: usize,
    /// The most tokens that it may hold.
    pub n_ctx: usize,
    /// Bytes of K held.
    pub key_bytes: u64,
    /// Bytes of V held, on device and host.
    pub value_bytes: u64,
    /// Bytes of hot rows held.
    pub hot_row_bytes: u64,
}

// SAFETY: numbers of one word.
unsafe impl Versioned for kcache_sequence_info {
    const NAME: &'static str = "kcache_sequence_info";
    const FIRST_SIZE: usize = size_of::<Self>();

    fn initial() -> Self {
        Self::default()
    }
}

/// Makes an empty sequence under the context's policy. Texts of failures are the
/// context's, and `*sequence` is then NULL.
///
/// KCACHE_STATUS_OUT_OF_MEMORY, KCACHE_STATUS_DEVICE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_sequence_new(
    context: *mut kcache_context,
    sequence: *mut *mut kcache_sequence,
) -> kcache_status {
    // SAFETY: the caller's promise, here and below.
    unsafe {
        if !sequence.is_null() {
            sequence.write(std::ptr::null_mut());
        }
        boundary::call(context, |handle| {
            if sequence.is_null() {
                return Err(Failure::argument("sequence is NULL"));
            }
            let context = handle.write()?;
            let made = context.as_ref().ok_or_else(not_made)?.engine.sequence()?;
            sequence.write(Handle::<kcache_sequence>::new(made).into_raw());
            Ok(())
        })
    }
}

/// Frees the sequence and makes `*sequence` NULL. NULL, and a pointer to NULL, are fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_sequence_free(sequence: *mut *mut kcache_sequence) {
    // SAFETY: the caller's promise.
    unsafe { boundary::free(sequence) }
}

/// Copies the text of the calling thread's last call about this sequence, if that
/// failed, else an empty text, to `buffer` of `capacity` bytes; what does not fit
/// is cut off. Returns the length of the whole text without its NUL. Calls that
/// take a context too leave their text there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_sequence_message(
    sequence: *const kcache_sequence,
    buffer: *mut c_char,
    capacity: usize,
) -> usize {
    // SAFETY: the caller's promise.
    unsafe { boundary::message(sequence, buffer, capacity) }
}

/// Fills `info`, whose struct_size the caller has set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_sequence_get_info(
    sequence: *const kcache_sequence,
    info: *mut kcache_sequence_info,
) -> kcache_status {
    // SAFETY: the caller's promise, here and below.
    unsafe {
        boundary::call(sequence, |handle| {
            let sequence = handle.read()?;
            let [keys, values, hot_rows] = sequence.kv_bytes().map(|bytes| bytes as u64);
            let values = kcache_sequence_info {
                struct_size: 0,
                n_tokens: sequence.tokens().len(),
                n_ctx: sequence.n_ctx(),
                key_bytes: keys,
                value_bytes: values,
                hot_row_bytes: hot_rows,
            };
            versioned::write(info, &values)
        })
    }
}

/// The tokens whose K and V are held, in order.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_sequence_get_tokens(
    sequence: *const kcache_sequence,
    tokens: *mut u32,
    capacity: usize,
    length: *mut usize,
) -> kcache_status {
    // SAFETY: the caller's promise, here and below.
    unsafe {
        boundary::call(sequence, |handle| {
            input::check_array("tokens", tokens, capacity)?;
            buffer::fill(handle.read()?.tokens(), tokens, capacity, length)
        })
    }
}

/// Forgets all tokens from the one of index `n_tokens` on, so that others can
/// follow. More tokens than the sequence has change nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_sequence_truncate(
    sequence: *mut kcache_sequence,
    n_tokens: usize,
) -> kcache_status {
    // SAFETY: the caller's promise, here and below.
    unsafe {
        boundary::call(sequence, |handle| {
            handle.write()?.truncate(n_tokens);
            Ok(())
        })
    }
}

/// Forgets all tokens but those that `tokens` begins with too, and writes their
/// number to `n_kept`: a prompt that goes on from an earlier one, as in a
/// conversation, is then computed from `tokens + *n_kept` on. The last of
/// `tokens` is never kept, since what follows is drawn from its logits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_sequence_keep_prefix(
    sequence: *mut kcache_sequence,
    tokens: *const u32,
    n_tokens: usize,
    n_kept: *mut usize,
) -> kcache_status {
    // SAFETY: the caller's promise, here and below.
    unsafe {
        boundary::call(sequence, |handle| {
            let tokens = input::array("tokens", tokens, n_tokens)?;
            if n_kept.is_null() {
                return Err(Failure::argument("n_kept is NULL"));
            }
            n_kept.write(handle.write()?.keep_prefix(tokens));
            Ok(())
        })
    }
}
