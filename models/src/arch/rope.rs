//! Rotary position embeddings as the two kinds of file describe them.

use std::ops::RangeInclusive;

use super::checks::{Dim, check_shape, read_vector};
use super::dims::POSITIONS;
use super::fields::{Fields, number_in};
use super::gguf_fields::GgufFields;
use super::hf_fields::HfFields;
use super::source::TensorSource;
use crate::config::{RopeConfig, RopeScaling, RopeStyle};
use crate::{Error, Result};

const THETA: RangeInclusive<f32> = 1.0..=1e12;
const FACTOR: RangeInclusive<f32> = 1.0..=1e6;
const DIVISOR: RangeInclusive<f32> = 1e-3..=1e6;
/// What files that name no base mean.
const DEFAULT_THETA: f32 = 10_000.0;

/// From `rope_theta` and `rope_scaling`, or from `rope_parameters`, where
/// newer versions of `transformers` keep both.
pub(super) fn from_hf(json: &HfFields<'_>) -> Result<RopeConfig> {
    let parameters = json.object("rope_parameters", "rope_parameters.")?;
    let scaling = json.object("rope_scaling", "rope_scaling.")?;
    let theta = match &parameters {
        Some(parameters) => parameters.number("rope_theta", THETA)?,
        None => None,
    };
    let theta = match theta {
        Some(theta) => theta,
        None => json.number("rope_theta", THETA)?.unwrap_or(DEFAULT_THETA),
    };
    check_full_rotation(json)?;
    let scaling = match parameters.or(scaling) {
        Some(scaling) => read_scaling(&scaling)?,
        None => RopeScaling::None,
    };
    Ok(RopeConfig {
        theta,
        style: RopeStyle::HalfSplit,
        scaling,
    })
}

fn check_full_rotation(json: &HfFields<'_>) -> Result<()> {
    const KEY: &str = "partial_rotary_factor";
    match json.number(KEY, 0.0..=1.0)? {
        None | Some(1.0) => Ok(()),
        Some(_) => Err(json.unsupported(KEY, "1.0, all elements of a head")),
    }
}

fn read_scaling(scaling: &HfFields<'_>) -> Result<RopeScaling> {
    check_full_rotation(scaling)?;
    let key = if scaling.has("rope_type") {
        "rope_type"
    } else {
        "type"
    };
    match scaling.text(key)? {
        Some("default") => Ok(RopeScaling::None),
        Some("linear") => Ok(RopeScaling::Linear {
            factor: scaling.require_number("factor", FACTOR)?,
        }),
        Some("llama3") => read_llama3(scaling),
        Some(_) => Err(scaling.unsupported(key, "default, linear, llama3")),
        None if scaling.has("factor") => {
            Err(scaling.invalid("rope_type", "default, linear or llama3"))
        }
        None => Ok(RopeScaling::None),
    }
}

fn read_llama3(scaling: &HfFields<'_>) -> Result<RopeScaling> {
    let low_freq_factor = scaling.require_number("low_freq_factor", DIVISOR)?;
    let high_freq_factor = scaling.require_number("high_freq_factor", DIVISOR)?;
    if high_freq_factor <= low_freq_factor {
        let expected = format!("more than low_freq_factor = {low_freq_factor}");
        return Err(scaling.invalid("high_freq_factor", expected));
    }
    Ok(RopeScaling::Llama3 {
        factor: scaling.require_number("factor", FACTOR)?,
        low_freq_factor,
        high_freq_factor,
        original_max_position: scaling
            .require_integer("original_max_position_embeddings", POSITIONS)?,
    })
}

/// From `<architecture>.rope.*` and the divisors in `rope_freqs.weight`.
pub(super) fn from_gguf(
    fields: &GgufFields<'_>,
    style: RopeStyle,
    head_dim: usize,
) -> Result<RopeConfig> {
    const ROTATED: &str = "rope.dimension_count";
    let all = 2..=head_dim.max(2);
    if fields.integer(ROTATED, all)?.is_some_and(|n| n != head_dim) {
        let supported = format!("{head_dim}, all elements of a head");
        return Err(fields.unsupported(ROTATED, supported));
    }
    let theta = fields.number("rope.freq_base", THETA)?;
    Ok(RopeConfig {
        theta: theta.unwrap_or(DEFAULT_THETA),
        style,
        scaling: gguf_scaling(fields, head_dim)?,
    })
}

fn gguf_scaling(fields: &GgufFields<'_>, head_dim: usize) -> Result<RopeScaling> {
    let linear = gguf_linear(fields)?;
    let divisors = gguf_divisors(fields, head_dim)?;
    match (linear, divisors) {
        (None, None) => Ok(RopeScaling::None),
        (Some(factor), None) => Ok(RopeScaling::Linear { factor }),
        (None, Some(divisors)) => Ok(RopeScaling::Divisors(divisors)),
        (Some(_), Some(_)) => {
            let message = "linear RoPE scaling together with rope_freqs.weight is not supported";
            Err(Error::unsupported(fields.path(), message))
        }
    }
}

/// The factor of linear scaling. As in llama.cpp, a factor without a type means
/// linear, and a type without a factor means nothing.
fn gguf_linear(fields: &GgufFields<'_>) -> Result<Option<f32>> {
    const TYPE: &str = "rope.scaling.type";
    match fields.text(TYPE)? {
        Some("none") => return Ok(None),
        None | Some("linear") => {}
        Some(_) => return Err(fields.unsupported(TYPE, "none, linear")),
    }
    for key in ["rope.scaling.factor", "rope.scale_linear"] {
        // Writers put 0 for "not scaled".
        match fields.number(key, 0.0..=*FACTOR.end())? {
            None => {}
            Some(0.0 | 1.0) => return Ok(None),
            Some(factor) if factor > 1.0 => return Ok(Some(factor)),
            Some(_) => return Err(fields.invalid(key, "0, or 1 or more")),
        }
    }
    Ok(None)
}

fn gguf_divisors(fields: &GgufFields<'_>, head_dim: usize) -> Result<Option<Vec<f32>>> {
    let Some(tensor) = fields.file().tensor("rope_freqs.weight")? else {
        return Ok(None);
    };
    check_shape(&tensor, &[Dim("head_dim / 2", head_dim / 2)])?;
    let divisors = read_vector(&tensor)?;
    match divisors.iter().find(|d| !DIVISOR.contains(d)) {
        Some(d) => Err(tensor.error(format!("holds {d}, expected {}", number_in(&DIVISOR)))),
        None => Ok(Some(divisors)),
    }
}
