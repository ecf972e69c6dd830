//! Configurations from the metadata of a GGUF file.

use super::dims::{self, Dims, POSITIONS, VOCAB};
use super::fields::Fields;
use super::gguf_fields::GgufFields;
use super::names::{Global, Part};
use super::source::{Naming, TensorSource};
use super::{Architecture, llama, qwen2, rope};
use crate::config::{BiasConfig, ModelConfig, RopeStyle};
use crate::gguf::{GgufFile, Value};
use crate::{Error, Result};

/// The configuration that the metadata of `file` describes.
///
/// # Errors
/// As for [`super::config_from_hf`].
pub fn config_from_gguf(file: &GgufFile) -> Result<ModelConfig> {
    const SPLITS: &str = "split.count";
    if file.get::<u64>(SPLITS)?.is_some_and(|n| n > 1) {
        return Err(file.unsupported(SPLITS, "1; merge the parts first"));
    }
    const KEY: &str = "general.architecture";
    let name: &str = file.require(KEY)?;
    let architecture = Architecture::from_name(name)
        .ok_or_else(|| file.unsupported(KEY, Architecture::names()))?;
    let fields = GgufFields::new(file, architecture);
    refuse_variants(&fields)?;
    match architecture {
        Architecture::Llama => llama::from_gguf(&fields),
        Architecture::Qwen2 => qwen2::from_gguf(&fields),
    }
}

/// Refuses what the architecture's plain decoder would compute wrongly.
fn refuse_variants(fields: &GgufFields<'_>) -> Result<()> {
    const EXPERTS: &str = "expert_count";
    if fields
        .integer(EXPERTS, 0..=usize::MAX)?
        .is_some_and(|n| n > 0)
    {
        return Err(fields.unsupported(EXPERTS, "0, dense models"));
    }
    const CAUSAL: &str = "attention.causal";
    if fields.flag(CAUSAL)? == Some(false) {
        return Err(fields.unsupported(CAUSAL, "true"));
    }
    Ok(())
}

/// What all decoders read alike.
pub(super) fn read_config(
    fields: &GgufFields<'_>,
    architecture: Architecture,
    style: RopeStyle,
    bias: BiasConfig,
) -> Result<ModelConfig> {
    let dims = Dims::read(fields, &dims::GGUF)?;
    const VALUE_DIM: &str = "attention.value_length";
    let value_dim = fields.integer(VALUE_DIM, 1..=usize::MAX)?;
    if value_dim.is_some_and(|n| n != dims.head_dim) {
        return Err(fields.unsupported(VALUE_DIM, format!("the size of keys, {}", dims.head_dim)));
    }
    let head = fields.file().tensor(Global::LmHead.weight(Naming::Gguf))?;
    Ok(ModelConfig {
        architecture,
        n_layers: dims.n_layers,
        hidden_size: dims.hidden_size,
        intermediate_size: dims.intermediate_size,
        n_heads: dims.n_heads,
        n_kv_heads: dims.n_kv_heads,
        head_dim: dims.head_dim,
        vocab_size: read_vocab_size(fields.file())?,
        max_position: fields.require_integer("context_length", POSITIONS)?,
        rms_norm_eps: dims.rms_norm_eps,
        rope: rope::from_gguf(fields, style, dims.head_dim)?,
        tie_word_embeddings: head.is_none(),
        bias,
    })
}

/// Whether the first block has a bias there.
pub(super) fn has_bias(fields: &GgufFields<'_>, part: Part) -> Result<bool> {
    let name = format!("{}.bias", part.name(Naming::Gguf, 0));
    Ok(fields.file().tensor(&name)?.is_some())
}

/// Rows of the embedding, which are as many as there are tokens.
fn read_vocab_size(file: &GgufFile) -> Result<usize> {
    let name = Global::Embedding.weight(Naming::Gguf);
    let Some(embedding) = file.tensor(name)? else {
        return Err(Error::invalid(
            file.path(),
            format!("tensor {name} is missing"),
        ));
    };
    let rows = embedding.rows();
    if !VOCAB.contains(&rows) {
        let most = VOCAB.end();
        return Err(embedding.error(format!("has {rows} rows, expected 1 to {most}")));
    }
    const TOKENS: &str = "tokenizer.ggml.tokens";
    match file.value(TOKENS)? {
        Some(Value::Array(tokens)) if tokens.len() != rows => {
            Err(file.invalid(TOKENS, format_args!("{rows} elements, the rows of {name}")))
        }
        _ => Ok(rows),
    }
}
