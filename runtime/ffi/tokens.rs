//! Text to token ids and back.

use std::ffi::c_char;

use super::boundary;
use super::buffer;
use super::input;
use super::model::kcache_model;
use super::status::kcache_status;

/// The token ids of a text of `text_length` bytes, UTF-8, which needs no NUL.
/// Special tokens that are written out in it, as chat templates do, are
/// recognised. With `add_special` 1 the ids begin and end as the model wants a
/// whole text to; pass 0 for what a chat template has made.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_tokenize(
    model: *const kcache_model,
    text: *const c_char,
    text_length: usize,
    add_special: u32,
    tokens: *mut u32,
    capacity: usize,
    length: *mut usize,
) -> kcache_status {
    // SAFETY: the caller's promise, here and below.
    unsafe {
        boundary::call(model, |handle| {
            let text = input::text_of("text", text, text_length)?;
            let add_special = input::flag("add_special", add_special)?;
            input::check_array("tokens", tokens, capacity)?;
            let state = handle.read()?;
            let ids = state.facts()?.tokenizer.encode(text, add_special)?;
            buffer::fill(&ids, tokens, capacity, length)
        })
    }
}

/// The text of token ids, UTF-8: bytes that are none become U+FFFD. With
/// `skip_special` 1, tokens that mark structure, such as the end of a turn, are
/// left out. To show tokens as they come, use a kcache_token_stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_detokenize(
    model: *const kcache_model,
    tokens: *const u32,
    n_tokens: usize,
    skip_special: u32,
    text: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> kcache_status {
    // SAFETY: the caller's promise, here and below.
    unsafe {
        boundary::call(model, |handle| {
            let tokens = input::array("tokens", tokens, n_tokens)?;
            let skip_special = input::flag("skip_special", skip_special)?;
            let state = handle.read()?;
            let string = state.facts()?.tokenizer.decode(tokens, skip_special)?;
            buffer::fill_text(&string, text, capacity, length)
        })
    }
}
