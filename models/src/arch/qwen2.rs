//! Qwen2 and Qwen2.5, after `transformers` `modeling_qwen2.py`.
//!
//! Llama with biases on Q, K and V and nowhere else. llama.cpp leaves the rows
//! of Q and K as they are.

use super::fields::Fields;
use super::gguf_fields::GgufFields;
use super::hf_fields::HfFields;
use super::{Architecture, gguf, hf};
use crate::Result;
use crate::config::{BiasConfig, ModelConfig, RopeStyle};

const BIAS: BiasConfig = BiasConfig {
    qkv: true,
    attn_output: false,
    mlp: false,
};

/// From `config.json`.
pub(super) fn from_hf(json: &HfFields<'_>) -> Result<ModelConfig> {
    const DEFAULT_POSITIONS: usize = 32_768;
    const WINDOW: &str = "use_sliding_window";
    if json.flag(WINDOW)? == Some(true) {
        return Err(json.unsupported(WINDOW, "false, full attention"));
    }
    hf::read_config(json, Architecture::Qwen2, BIAS, DEFAULT_POSITIONS)
}

/// From GGUF metadata.
pub(super) fn from_gguf(fields: &GgufFields<'_>) -> Result<ModelConfig> {
    gguf::read_config(fields, Architecture::Qwen2, RopeStyle::HalfSplit, BIAS)
}
