//! The dimensions that every decoder has, and their bounds.

use std::ops::RangeInclusive;

use super::fields::Fields;
use crate::Result;

// Bounds leave room for any model in sight; below them, no product of two
// dimensions overflows and no table of them is large.
const LAYERS: RangeInclusive<usize> = 1..=1 << 12;
const WIDTH: RangeInclusive<usize> = 1..=1 << 20;
const HEADS: RangeInclusive<usize> = 1..=1 << 14;
const HEAD_DIM: RangeInclusive<usize> = 2..=1 << 12;
pub(super) const VOCAB: RangeInclusive<usize> = 1..=1 << 24;
pub(super) const POSITIONS: RangeInclusive<usize> = 1..=1 << 28;
const EPSILON: RangeInclusive<f32> = 1e-12..=1e-1;

/// What the file calls each dimension.
pub(super) struct Keys {
    pub(super) n_layers: &'static str,
    pub(super) hidden_size: &'static str,
    pub(super) intermediate_size: &'static str,
    pub(super) n_heads: &'static str,
    pub(super) n_kv_heads: &'static str,
    pub(super) head_dim: &'static str,
    pub(super) rms_norm_eps: &'static str,
}

/// Keys of `config.json`.
pub(super) const HF: Keys = Keys {
    n_layers: "num_hidden_layers",
    hidden_size: "hidden_size",
    intermediate_size: "intermediate_size",
    n_heads: "num_attention_heads",
    n_kv_heads: "num_key_value_heads",
    head_dim: "head_dim",
    rms_norm_eps: "rms_norm_eps",
};

/// Keys of GGUF, after the architecture's name.
pub(super) const GGUF: Keys = Keys {
    n_layers: "block_count",
    hidden_size: "embedding_length",
    intermediate_size: "feed_forward_length",
    n_heads: "attention.head_count",
    n_kv_heads: "attention.head_count_kv",
    head_dim: "attention.key_length",
    rms_norm_eps: "attention.layer_norm_rms_epsilon",
};

/// Checked dimensions; see [`crate::config::ModelConfig`].
pub(super) struct Dims {
    pub(super) n_layers: usize,
    pub(super) hidden_size: usize,
    pub(super) intermediate_size: usize,
    pub(super) n_heads: usize,
    pub(super) n_kv_heads: usize,
    pub(super) head_dim: usize,
    pub(super) rms_norm_eps: f32,
}

impl Dims {
    /// Reads the dimensions. Files of models without grouped heads may leave
    /// out `n_kv_heads`, and `head_dim` where it is `hidden_size / n_heads`.
    pub(super) fn read(fields: &impl Fields, keys: &Keys) -> Result<Self> {
        let hidden_size = fields.require_integer(keys.hidden_size, WIDTH)?;
        let n_heads = fields.require_integer(keys.n_heads, HEADS)?;
        let n_kv_heads = fields.integer(keys.n_kv_heads, HEADS)?.unwrap_or(n_heads);
        if !n_heads.is_multiple_of(n_kv_heads) {
            let expected = format!("a divisor of {} = {n_heads}", keys.n_heads);
            return Err(fields.invalid(keys.n_kv_heads, expected));
        }
        Ok(Self {
            n_layers: fields.require_integer(keys.n_layers, LAYERS)?,
            hidden_size,
            intermediate_size: fields.require_integer(keys.intermediate_size, WIDTH)?,
            n_heads,
            n_kv_heads,
            head_dim: read_head_dim(fields, keys, hidden_size, n_heads)?,
            rms_norm_eps: fields.require_number(keys.rms_norm_eps, EPSILON)?,
        })
    }
}

fn read_head_dim(
    fields: &impl Fields,
    keys: &Keys,
    hidden_size: usize,
    n_heads: usize,
) -> Result<usize> {
    if let Some(head_dim) = fields.integer(keys.head_dim, HEAD_DIM)? {
        if !head_dim.is_multiple_of(2) {
            return Err(fields.invalid(keys.head_dim, "an even number"));
        }
        return Ok(head_dim);
    }
    let head_dim = hidden_size / n_heads;
    if !hidden_size.is_multiple_of(2 * n_heads) || !HEAD_DIM.contains(&head_dim) {
        let expected = format!(
            "heads of an even size up to {}: a multiple of 2 * {} = {}",
            HEAD_DIM.end(),
            keys.n_heads,
            2 * n_heads
        );
        return Err(fields.invalid(keys.hidden_size, expected));
    }
    Ok(head_dim)
}
