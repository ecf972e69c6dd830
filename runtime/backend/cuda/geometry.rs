//! Which models the kernels can compute.

use gpu_kernels::decode_scores::MAX_GROUP;
use kcache_models::config::ModelConfig;

use super::kernels::HEAD_DIMS;
use crate::{Error, Result};

/// Refuses a model that the kernels do not fit.
///
/// # Errors
/// [`Error::InvalidArgument`] with the dimension, its value and what there is.
pub(in crate::backend) fn check(config: &ModelConfig) -> Result<()> {
    let refuse = |what: String| {
        Err(Error::InvalidArgument(format!(
            "the GPU cannot run this model: {what}; run it on the CPU"
        )))
    };
    let dim = config.head_dim;
    if !HEAD_DIMS.contains(&dim) {
        return refuse(format!(
            "its heads have {dim} elements, and there are kernels for {HEAD_DIMS:?}"
        ));
    }
    let group = config.group_size();
    if group > MAX_GROUP as usize {
        return refuse(format!(
            "{group} query heads share a KV head, and the kernels take up to {MAX_GROUP}"
        ));
    }
    for (name, width) in [
        ("hidden size", config.hidden_size),
        ("intermediate size", config.intermediate_size),
    ] {
        if !width.is_multiple_of(8) {
            return refuse(format!("its {name} of {width} is no multiple of 8"));
        }
    }
    Ok(())
}
