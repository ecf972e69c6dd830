//! Llama 1 to 3.x, after `transformers` `modeling_llama.py`.
//!
//! Pre-norm blocks of grouped-query attention and a gated SiLU MLP. llama.cpp
//! permutes the rows of Q and K when it writes GGUF, so that rotated pairs are
//! neighbours; Hugging Face files keep the halves apart.

use super::fields::Fields;
use super::gguf_fields::GgufFields;
use super::hf_fields::HfFields;
use super::names::Part;
use super::{Architecture, gguf, hf};
use crate::Result;
use crate::config::{BiasConfig, ModelConfig, RopeStyle};

/// From `config.json`.
pub(super) fn from_hf(json: &HfFields<'_>) -> Result<ModelConfig> {
    const DEFAULT_POSITIONS: usize = 2048;
    let attention = json.flag("attention_bias")?.unwrap_or(false);
    let bias = BiasConfig {
        qkv: attention,
        attn_output: attention,
        mlp: json.flag("mlp_bias")?.unwrap_or(false),
    };
    hf::read_config(json, Architecture::Llama, bias, DEFAULT_POSITIONS)
}

/// From GGUF metadata. Which layers have biases is not in the metadata; the
/// first block's tensors tell for all.
pub(super) fn from_gguf(fields: &GgufFields<'_>) -> Result<ModelConfig> {
    let bias = BiasConfig {
        qkv: gguf::has_bias(fields, Part::Q)?,
        attn_output: gguf::has_bias(fields, Part::O)?,
        mlp: gguf::has_bias(fields, Part::Gate)?,
    };
    gguf::read_config(fields, Architecture::Llama, RopeStyle::Interleaved, bias)
}
