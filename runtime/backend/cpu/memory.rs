//! What a model takes of the processor's memory.

use kcache_models::weights::WeightSizes;

use crate::backend::Memory;

/// Large enough for the products, small enough for the caches.
pub(in crate::backend) const PREFILL_CHUNK: usize = 512;

/// The sizes, where so many bytes are there for everything.
pub(in crate::backend) fn memory(weights: &WeightSizes, available: Option<u64>) -> Memory {
    Memory {
        weights: weights.bytes,
        weights_mapped: !weights.copied,
        kv_element: size_of::<f32>(),
        index_per_position: size_of::<u32>(),
        index_per_row: size_of::<u32>() + size_of::<u64>(),
        activation_element: size_of::<f32>(),
        workspace_per_position: 0,
        available,
        host: None,
    }
}
