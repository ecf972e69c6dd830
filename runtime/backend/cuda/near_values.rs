//! V rows of far layers that stay near the keys: sinks, the recent window, and
//! those fetched lately.

use gpu_kernels::kcache_attention::{ADDRESSES, hot_rows};
use half::bf16;
use kcache_models::config::ModelConfig;

use crate::Result;
use crate::cache::KvPolicy;
use crate::driver::{DeviceBuffer, Stream};

/// The most hot rows of a KV head: what selects and looks up has so much shared
/// memory.
const MAX_SLOTS: usize = 8192;

/// Words of the counters: rows used, found hot, and fetched.
const COUNTERS: usize = 3;

/// V rows of all far layers of one sequence.
pub(super) struct NearValues {
    /// `[far layers, kv_heads, sinks + window, dim]`.
    near: DeviceBuffer<bf16>,
    /// `[far layers, kv_heads, slots, dim]`.
    hot: DeviceBuffer<bf16>,
    /// `[far layers, kv_heads, positions]`.
    slot_of: DeviceBuffer<u16>,
    /// `[far layers, kv_heads, slots]`.
    position_of: DeviceBuffer<u32>,
    /// `[far layers, kv_heads, slots]`.
    order: DeviceBuffer<u16>,
    traffic: DeviceBuffer<u64>,
    /// Heads of one layer: its share of each buffer.
    layers: usize,
    /// Whether positions were forgotten since the rows came.
    pub stale: bool,
}

impl NearValues {
    /// Empty, for `layers` layers of a sequence of at most `positions` positions.
    pub fn new(
        config: &ModelConfig,
        policy: &KvPolicy,
        layers: usize,
        positions: usize,
        stream: &Stream,
    ) -> Result<Self> {
        let context = stream.context();
        let heads = layers * config.n_kv_heads;
        let slots = slots(policy, positions);
        let rows = policy.sinks.min(positions) + policy.window.min(positions);
        let order: Vec<u16> = (0..heads).flat_map(|_| 0..slots as u16).collect();
        let mut values = Self {
            near: DeviceBuffer::new(context, "near V rows", heads * rows * config.head_dim)?,
            hot: DeviceBuffer::new(context, "hot V rows", heads * slots * config.head_dim)?,
            slot_of: DeviceBuffer::new(context, "index of hot rows", heads * positions)?,
            position_of: DeviceBuffer::new(context, "index of hot rows", heads * slots)?,
            order: DeviceBuffer::from_host(stream, "index of hot rows", &order)?,
            traffic: DeviceBuffer::zeroed(stream, "counters", COUNTERS)?,
            layers,
            stale: false,
        };
        values.empty(stream)?;
        Ok(values)
    }

    /// Forgets all hot rows.
    pub fn empty(&mut self, stream: &Stream) -> Result<()> {
        // All ones: no slot, no position.
        const { assert!(hot_rows::NO_SLOT == u16::MAX && hot_rows::NO_POSITION == u32::MAX) };
        self.slot_of.as_mut_slice().fill_bytes(0xff, stream)?;
        Ok(self.position_of.as_mut_slice().fill_bytes(0xff, stream)?)
    }

    /// Addresses of a layer's share, as the kernel takes them.
    pub fn addresses(&self, layer: usize) -> [u64; ADDRESSES as usize] {
        let share = |address: u64, len: usize, size: usize| {
            address + (layer * (len / self.layers.max(1)) * size) as u64
        };
        [
            share(self.near.as_slice().address(), self.near.len(), 2),
            share(self.hot.as_slice().address(), self.hot.len(), 2),
            share(self.slot_of.as_slice().address(), self.slot_of.len(), 2),
            share(
                self.position_of.as_slice().address(),
                self.position_of.len(),
                4,
            ),
            share(self.order.as_slice().address(), self.order.len(), 2),
        ]
    }

    /// The address of the counters.
    pub fn traffic_address(&self) -> u64 {
        self.traffic.as_slice().address()
    }

    /// Rows found hot, and rows fetched, so far.
    pub fn traffic(&self, stream: &Stream) -> Result<[u64; 2]> {
        let counts = self.traffic.to_host(stream)?;
        Ok([counts[1], counts[2]])
    }

    /// Bytes of hot rows.
    pub fn hot_bytes(&self) -> usize {
        self.hot.len() * size_of::<bf16>()
    }

    /// Bytes of sinks and windows.
    pub fn near_bytes(&self) -> usize {
        self.near.len() * size_of::<bf16>()
    }
}

/// Hot rows of a KV head under `policy`.
pub(super) fn slots(policy: &KvPolicy, positions: usize) -> usize {
    policy.hot_rows.min(positions).min(MAX_SLOTS)
}
