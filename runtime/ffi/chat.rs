//! Conversations to prompts.

use std::ffi::c_char;

use kcache_models::chat::Message;

use super::boundary;
use super::buffer;
use super::failure::{Failure, Result};
use super::input;
use super::model::kcache_model;
use super::status::kcache_status;

/// One turn of a conversation.
#[repr(C)]
pub struct kcache_chat_message {
    /// "system", "user" or "assistant", or what else the template knows.
    pub role: *const c_char,
    /// What was said, UTF-8.
    pub content: *const c_char,
}

/// The prompt that the model's chat template makes of `messages`, to be tokenised
/// with `add_special` 0. With `add_generation_prompt` 1 it ends where the
/// assistant's reply begins.
///
/// KCACHE_STATUS_INVALID_ARGUMENT if the model has no template,
/// KCACHE_STATUS_MODEL if the template refuses the messages.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_apply_chat_template(
    model: *const kcache_model,
    messages: *const kcache_chat_message,
    n_messages: usize,
    add_generation_prompt: u32,
    prompt: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> kcache_status {
    // SAFETY: the caller's promise, here and below.
    unsafe {
        boundary::call(model, |handle| {
            let messages = input::array("messages", messages, n_messages)?;
            let messages: Vec<Message> = messages
                .iter()
                .map(|message| spoken(message))
                .collect::<Result<_>>()?;
            let open_end = input::flag("add_generation_prompt", add_generation_prompt)?;
            let state = handle.read()?;
            let template = state.facts()?.chat_template.as_ref();
            let template =
                template.ok_or_else(|| Failure::argument("the model has no chat template"))?;
            let text = template.render(&messages, open_end)?;
            buffer::fill_text(&text, prompt, capacity, length)
        })
    }
}

/// # Safety
/// The texts are as the header says.
unsafe fn spoken(message: &kcache_chat_message) -> Result<Message> {
    // SAFETY: passed on.
    let (role, content) = unsafe {
        (
            input::text("role", message.role)?,
            input::text("content", message.content)?,
        )
    };
    Ok(Message {
        role: role.to_owned(),
        content: content.to_owned(),
    })
}
