//! Text from tokens as they come, for callers that decode themselves.

use std::ffi::c_char;

use kcache_models::tokenizer::TextStream;

use super::boundary;
use super::buffer;
use super::failure::{Failure, Result};
use super::handle::{Handle, Object};
use super::input;
use super::model::kcache_model;
use super::status::kcache_status;

/// Turns tokens into text as they come, whole characters at a time.
///
/// Made by kcache_token_stream_new(), freed by kcache_token_stream_free(). One
/// call at a time.
pub struct kcache_token_stream {
    _opaque: (),
}

impl Object for kcache_token_stream {
    const NAME: &'static str = "token stream";
    type Value = Stream;
    type Shared = ();
}

/// Tokens in, text out.
#[derive(Default)]
pub struct Stream {
    /// `None` where it could not be made, and once it is finished.
    decoder: Option<TextStream>,
    /// Text that was not taken yet.
    text: String,
}

/// Makes a stream of a model's tokens. With `continues_text` 1 the text goes on
/// from a prompt's last word; with 0 it starts afresh, as a chat reply does, and
/// some models' space before the first word is dropped.
///
/// `*stream` is written in any case, unless `stream` is NULL, and must be freed:
/// after a failure it is there for kcache_token_stream_message().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_token_stream_new(
    model: *const kcache_model,
    continues_text: u32,
    stream: *mut *mut kcache_token_stream,
) -> kcache_status {
    // SAFETY: the caller's promise, here and below.
    unsafe {
        boundary::create(stream, Stream::default(), |handle| {
            let model = Handle::open(model)?;
            let state = model.read()?;
            let tokenizer = &state.facts()?.tokenizer;
            let continues = input::flag("continues_text", continues_text)?;
            handle.write()?.decoder = Some(match continues {
                true => tokenizer.continuation(),
                false => tokenizer.stream(),
            });
            Ok(())
        })
    }
}

/// Adds a token. KCACHE_STATUS_MODEL for one outside the vocabulary, and
/// KCACHE_STATUS_INVALID_ARGUMENT after kcache_token_stream_finish().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_token_stream_push(
    stream: *mut kcache_token_stream,
    token: u32,
) -> kcache_status {
    // SAFETY: the caller's promise, here and below.
    unsafe {
        boundary::call(stream, |handle| -> Result<()> {
            let mut stream = handle.write()?;
            let decoder = stream.decoder.as_mut().ok_or_else(ended)?;
            let text = decoder.push(token)?;
            stream.text += &text;
            Ok(())
        })
    }
}

/// Ends the text: what was held back, as part of a character, becomes U+FFFD.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_token_stream_finish(
    stream: *mut kcache_token_stream,
) -> kcache_status {
    // SAFETY: the caller's promise, here and below.
    unsafe {
        boundary::call(stream, |handle| {
            let mut stream = handle.write()?;
            let decoder = stream.decoder.take().ok_or_else(ended)?;
            stream.text += &decoder.finish();
            Ok(())
        })
    }
}

/// Takes the text that came together since the last call that filled a buffer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_token_stream_take(
    stream: *mut kcache_token_stream,
    text: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> kcache_status {
    // SAFETY: the caller's promise, here and below.
    unsafe {
        boundary::call(stream, |handle| {
            let mut stream = handle.write()?;
            buffer::fill_text(&stream.text, text, capacity, length)?;
            if !text.is_null() {
                stream.text.clear();
            }
            Ok(())
        })
    }
}

/// Frees the stream and makes `*stream` NULL. NULL, and a pointer to NULL, are fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_token_stream_free(stream: *mut *mut kcache_token_stream) {
    // SAFETY: the caller's promise.
    unsafe { boundary::free(stream) }
}

/// Copies the text of the calling thread's last call about this stream, if that
/// failed, else an empty text, to `buffer` of `capacity` bytes; what does not fit
/// is cut off. Returns the length of the whole text without its NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_token_stream_message(
    stream: *const kcache_token_stream,
    buffer: *mut c_char,
    capacity: usize,
) -> usize {
    // SAFETY: the caller's promise.
    unsafe { boundary::message(stream, buffer, capacity) }
}

fn ended() -> Failure {
    Failure::argument("the token stream is finished, or could not be made")
}
