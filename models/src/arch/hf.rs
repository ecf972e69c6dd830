//! Configurations from a Hugging Face `config.json`.

use std::path::Path;

use serde_json::{Map, Value};

use super::dims::{self, Dims, POSITIONS, VOCAB};
use super::fields::Fields;
use super::hf_fields::HfFields;
use super::{Architecture, llama, qwen2, rope};
use crate::Result;
use crate::config::{BiasConfig, ModelConfig};

/// The configuration in the `json` object of the file `path`.
///
/// Keys that are missing have the defaults of the `transformers` library,
/// where the library's own files ever leave them out.
///
/// # Errors
/// [`crate::Error::Unsupported`] for other architectures and for features that
/// would change the result; [`crate::Error::Invalid`] naming key, value and
/// bounds for whatever no model can have.
pub fn config_from_hf(path: &Path, json: &Map<String, Value>) -> Result<ModelConfig> {
    let json = HfFields::new(path, json);
    let architecture = read_architecture(&json)?;
    refuse_variants(&json, architecture)?;
    match architecture {
        Architecture::Llama => llama::from_hf(&json),
        Architecture::Qwen2 => qwen2::from_hf(&json),
    }
}

fn read_architecture(json: &HfFields<'_>) -> Result<Architecture> {
    const KEY: &str = "model_type";
    let supported = Architecture::names();
    let Some(name) = json.text(KEY)? else {
        return Err(json.invalid(KEY, format!("one of: {supported}")));
    };
    Architecture::from_name(name).ok_or_else(|| json.unsupported(KEY, supported))
}

/// Refuses what the architecture's plain decoder would compute wrongly.
fn refuse_variants(json: &HfFields<'_>, architecture: Architecture) -> Result<()> {
    const CLASSES: &str = "architectures";
    let class = architecture.hf_class();
    if json.texts(CLASSES)?.is_some_and(|c| !c.contains(&class)) {
        return Err(json.unsupported(CLASSES, class));
    }
    const QUANTIZATION: &str = "quantization_config";
    if json.has(QUANTIZATION) {
        return Err(json.unsupported(QUANTIZATION, "no quantisation, or GGUF files"));
    }
    const ACTIVATION: &str = "hidden_act";
    if json.text(ACTIVATION)?.is_some_and(|act| act != "silu") {
        return Err(json.unsupported(ACTIVATION, "silu"));
    }
    const LAYERS: &str = "layer_types";
    const FULL: &str = "full_attention";
    let kinds = json.texts(LAYERS)?.unwrap_or_default();
    if kinds.iter().any(|kind| *kind != FULL) {
        return Err(json.unsupported(LAYERS, FULL));
    }
    Ok(())
}

/// What all decoders read alike. `default_positions` is for files that do not
/// say how long the context may be.
pub(super) fn read_config(
    json: &HfFields<'_>,
    architecture: Architecture,
    bias: BiasConfig,
    default_positions: usize,
) -> Result<ModelConfig> {
    let dims = Dims::read(json, &dims::HF)?;
    let max_position = json.integer("max_position_embeddings", POSITIONS)?;
    Ok(ModelConfig {
        architecture,
        n_layers: dims.n_layers,
        hidden_size: dims.hidden_size,
        intermediate_size: dims.intermediate_size,
        n_heads: dims.n_heads,
        n_kv_heads: dims.n_kv_heads,
        head_dim: dims.head_dim,
        vocab_size: json.require_integer("vocab_size", VOCAB)?,
        max_position: max_position.unwrap_or(default_positions),
        rms_norm_eps: dims.rms_norm_eps,
        rope: rope::from_hf(json)?,
        tie_word_embeddings: json.flag("tie_word_embeddings")?.unwrap_or(false),
        bias,
    })
}
