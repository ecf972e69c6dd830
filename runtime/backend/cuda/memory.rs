//! What a model takes of a device's memory and of the host's beside it.

use half::bf16;
use kcache_models::config::ModelConfig;
use kcache_models::weights::WeightSizes;

use crate::backend::{HostMemory, Memory};

/// Large enough for the products to run at their rate.
pub(in crate::backend) const PREFILL_CHUNK: usize = 2048;

/// The sizes; what the device has left is for the caller to say.
pub(in crate::backend) fn memory(
    config: &ModelConfig,
    weights: &WeightSizes,
    host: Option<u64>,
) -> Memory {
    let (half, float) = (size_of::<bf16>(), size_of::<f32>());
    let angles = config.max_position as u64 * config.head_dim as u64;
    let floats = weights.vector_elements + angles;
    Memory {
        weights: weights.matrix_elements * half as u64 + floats * float as u64,
        weights_mapped: false,
        kv_element: half,
        index_per_position: size_of::<u16>(),
        // The position in a slot, and the slot's place in the order of use.
        index_per_row: size_of::<u32>() + size_of::<u16>(),
        activation_element: half + float,
        // Scores of every head, and what a group of heads makes of them.
        workspace_per_position: (float * (config.n_heads + config.n_kv_heads)) as u64,
        available: None,
        host: Some(HostMemory {
            staged_layers: 2,
            available: host,
        }),
    }
}
