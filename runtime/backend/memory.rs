//! What a backend's memories take and have left.

/// Sizes that a [`crate::engine::MemoryPlan`] is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes of all weights where they are computed with.
    pub weights: u64,
    /// Whether those are a mapped file, which the system can drop and reread.
    pub weights_mapped: bool,
    /// Bytes of an element of K, V or a hot row.
    pub kv_element: usize,
    /// Bytes of the index of hot rows, for each KV head of a layer: of a position.
    pub index_per_position: usize,
    /// The same of a hot row.
    pub index_per_row: usize,
    /// Bytes of an element of an activation.
    pub activation_element: usize,
    /// Bytes of workspace that a decode step takes for each position.
    pub workspace_per_position: u64,
    /// Bytes that are there for the weights and everything else where the model
    /// computes, if known.
    pub available: Option<u64>,
    /// Where V goes that a policy keeps away, if that is another memory.
    pub host: Option<HostMemory>,
}

/// The host's memory beside a device's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostMemory {
    /// Layers whose V is in device memory on its way to the host.
    pub staged_layers: usize,
    /// Bytes left, if known.
    pub available: Option<u64>,
}
