//! What a model says of itself.

use std::ffi::c_char;

use super::boundary;
use super::buffer;
use super::model::kcache_model;
use super::model_state::State;
use super::status::kcache_status;
use super::versioned::{self, Versioned};

/// Shape of a model, for kcache_model_get_info().
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct kcache_model_info {
    /// sizeof(kcache_model_info), set by the caller
    pub struct_size: usize,
    /// Transformer blocks.
    pub n_layers: usize,
    /// Query heads of a block.
    pub n_heads: usize,
    /// Key and value heads of a block.
    pub n_kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Elements of a token's state.
    pub hidden_size: usize,
    /// Token ids are below this; logits are this many.
    pub vocab_size: usize,
    /// Tokens that the model was made for.
    pub n_ctx_max: usize,
    /// Bytes of the weights in their files.
    pub weight_bytes: u64,
    /// Whether kcache_apply_chat_template() can be used: 0 or 1.
    pub has_chat_template: u32,
    /// Whether the weights are loaded: 0 or 1.
    pub is_loaded: u32,
}

// SAFETY: sizes and a pair of u32.
unsafe impl Versioned for kcache_model_info {
    const NAME: &'static str = "kcache_model_info";
    const FIRST_SIZE: usize = size_of::<Self>();

    fn initial() -> Self {
        Self::default()
    }
}

/// Fills `info`, whose struct_size the caller has set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_model_get_info(
    model: *const kcache_model,
    info: *mut kcache_model_info,
) -> kcache_status {
    // SAFETY: the caller's promise, here and below.
    unsafe {
        boundary::call(model, |handle| {
            let state = handle.read()?;
            let facts = state.facts()?;
            let config = &facts.config;
            let values = kcache_model_info {
                struct_size: 0,
                n_layers: config.n_layers,
                n_heads: config.n_heads,
                n_kv_heads: config.n_kv_heads,
                head_dim: config.head_dim,
                hidden_size: config.hidden_size,
                vocab_size: config.vocab_size,
                n_ctx_max: config.max_position,
                weight_bytes: facts.weight_bytes,
                has_chat_template: facts.chat_template.is_some().into(),
                is_loaded: matches!(*state, State::Loaded(..)).into(),
            };
            versioned::write(info, &values)
        })
    }
}

/// The device that the model computes on, as a text for people, such as
/// "cpu, 8 threads".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_model_get_device(
    model: *const kcache_model,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> kcache_status {
    // SAFETY: the caller's promise, here and below.
    unsafe {
        boundary::call(model, |handle| {
            let state = handle.read()?;
            buffer::fill_text(&state.facts()?.device, buffer, capacity, length)
        })
    }
}

/// The token ids that end a text of this model.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_model_get_end_tokens(
    model: *const kcache_model,
    tokens: *mut u32,
    capacity: usize,
    length: *mut usize,
) -> kcache_status {
    // SAFETY: the caller's promise, here and below.
    unsafe {
        boundary::call(model, |handle| {
            let state = handle.read()?;
            buffer::fill(&state.facts()?.end_tokens, tokens, capacity, length)
        })
    }
}
