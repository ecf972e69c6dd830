//! K and V of one sequence: K and the V of dense layers in device memory, the
//! other layers' V in pinned host memory that kernels reach.

use std::sync::atomic::{AtomicU64, Ordering};

use gpu_kernels::kcache_attention::ADDRESSES;
use half::bf16;
use kcache_models::config::ModelConfig;

use super::Cuda;
use super::far_values::FarValues;
use super::kernels::Near;
use super::near_values::NearValues;
use super::stage::Rows;
use crate::Result;
use crate::backend::SequenceCache;
use crate::cache::{BLOCK, KvCounters, KvPolicy, Weighting};
use crate::driver::{Context, DeviceBuffer, DeviceSlice, Stream};

/// The number of the next cache.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// K and V of one sequence under one policy.
///
/// Of 64 positions each layer has a block `[kv_head][position % 64][d]` of K and
/// one of V; tables `[layer][position / 64]` hold their addresses.
pub struct CudaKvCache {
    pub(super) policy: KvPolicy,
    pub(super) q_heads: usize,
    pub(super) kv_heads: usize,
    pub(super) dim: usize,
    pub(super) counters: KvCounters,
    /// Positions of each layer.
    pub(super) lengths: Vec<usize>,
    context: Context,
    /// Layers whose V is in device memory: the first ones.
    pub(super) near_layers: usize,
    /// One buffer for 64 positions of all layers.
    keys: Vec<DeviceBuffer<bf16>>,
    near_values: Vec<DeviceBuffer<bf16>>,
    pub(super) far_values: FarValues,
    /// Rows of far layers that stay near, if the policy selects rows.
    pub(super) near: Option<NearValues>,
    /// Of each layer [`ADDRESSES`] addresses of those rows.
    pub(super) memory: DeviceBuffer<u64>,
    /// Blocks that it can grow to.
    pub(super) max_blocks: usize,
    /// For reading the counters, which steps have left.
    reader: Stream,
    /// The layer whose V is on a stage, and the rows there.
    pub(super) staged: Option<(usize, Rows)>,
    /// Whether rows of V may still be on their way to the host.
    pub(super) pushing: bool,
    /// Tells this cache from all others of the process.
    pub(super) number: u64,
    k_table: DeviceBuffer<u64>,
    v_table: DeviceBuffer<u64>,
    /// Blocks that a row of a table has room for, and those written.
    table_stride: usize,
    table_blocks: usize,
    /// Sum of all rows of V, `[far layers, kv_dim]`, if the policy needs it.
    pub(super) totals: DeviceBuffer<f32>,
    /// Where each layer's sum is, or 0.
    pub(super) total_addresses: DeviceBuffer<u64>,
    /// Layers whose total counts rows that were forgotten.
    pub(super) stale: Vec<bool>,
}

impl CudaKvCache {
    /// An empty cache of at most `n_ctx` positions, for which host addresses are reserved.
    pub(super) fn new(
        config: &ModelConfig,
        policy: &KvPolicy,
        n_ctx: usize,
        stream: &Stream,
    ) -> Result<Self> {
        let context = stream.context();
        let max_blocks = n_ctx.div_ceil(BLOCK);
        let near_layers = (0..config.n_layers)
            .filter(|&layer| policy.is_dense(layer))
            .count();
        let far_layers = config.n_layers - near_layers;
        let summed = match policy.weighting {
            Weighting::MeanV if policy.selects() => far_layers * config.kv_dim(),
            _ => 0,
        };
        let mut cache = Self {
            policy: policy.clone(),
            q_heads: config.n_heads,
            kv_heads: config.n_kv_heads,
            dim: config.head_dim,
            counters: KvCounters::default(),
            lengths: vec![0; config.n_layers],
            context: context.clone(),
            near_layers,
            keys: Vec::new(),
            near_values: Vec::new(),
            far_values: FarValues::reserve(context, far_layers, n_ctx, config.kv_dim())?,
            near: match policy.selects() && far_layers > 0 {
                true => {
                    let positions = max_blocks * BLOCK;
                    let near = NearValues::new(config, policy, far_layers, positions, stream)?;
                    Some(near)
                }
                false => None,
            },
            memory: DeviceBuffer::new(context, "near V rows", 0)?,
            max_blocks,
            reader: Stream::new(context)?,
            staged: None,
            pushing: false,
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            k_table: DeviceBuffer::new(context, "block table", 0)?,
            v_table: DeviceBuffer::new(context, "block table", 0)?,
            table_stride: 0,
            table_blocks: 0,
            totals: DeviceBuffer::zeroed(stream, "sum of V", summed)?,
            total_addresses: DeviceBuffer::new(context, "sum of V", 0)?,
            stale: vec![false; config.n_layers],
        };
        let addresses: Vec<u64> = (0..config.n_layers)
            .map(|layer| cache.total_address(layer))
            .collect();
        cache.total_addresses = DeviceBuffer::from_host(stream, "sum of V", &addresses)?;
        let memory: Vec<u64> = (0..config.n_layers)
            .flat_map(|layer| cache.near_addresses(layer))
            .collect();
        cache.memory = DeviceBuffer::from_host(stream, "near V rows", &memory)?;
        Ok(cache)
    }

    /// Elements of K or V of one position in one layer.
    pub(super) fn kv_dim(&self) -> usize {
        self.kv_heads * self.dim
    }

    /// Whether V of `layer` is in host memory.
    pub(super) fn is_far(&self, layer: usize) -> bool {
        layer >= self.near_layers
    }

    /// Addresses of the blocks of K and of V of `layer`.
    pub(super) fn tables(
        &self,
        layer: usize,
    ) -> Result<(DeviceSlice<'_, u64>, DeviceSlice<'_, u64>)> {
        let row = layer * self.table_stride..(layer + 1) * self.table_stride;
        Ok((self.k_table.slice(row.clone())?, self.v_table.slice(row)?))
    }

    /// Has sums and near rows made anew before they are next read: rows may have
    /// got into them that do not count.
    pub(super) fn distrust(&mut self) {
        self.stale.fill(true);
        if let Some(near) = &mut self.near {
            near.stale = true;
        }
    }

    /// Makes blocks for `positions` positions, and enters them in the tables.
    pub(super) fn reserve(&mut self, positions: usize, stream: &Stream) -> Result<()> {
        let blocks = positions.div_ceil(BLOCK);
        let (layers, size) = (self.lengths.len(), self.block_size());
        while self.keys.len() < blocks {
            let buffer = DeviceBuffer::new(&self.context, "keys", layers * size)?;
            self.keys.push(buffer);
        }
        while self.near_values.len() < blocks {
            let buffer = DeviceBuffer::new(&self.context, "values", self.near_layers * size)?;
            self.near_values.push(buffer);
        }
        self.far_values.grow(blocks)?;
        if self.table_blocks < blocks {
            self.write_tables(blocks, stream)?;
        }
        Ok(())
    }

    fn write_tables(&mut self, blocks: usize, stream: &Stream) -> Result<()> {
        let layers = self.lengths.len();
        let stride = self.table_stride.max(blocks.next_power_of_two());
        let mut keys = vec![0u64; layers * stride];
        let mut values = keys.clone();
        for layer in 0..layers {
            for block in 0..blocks {
                keys[layer * stride + block] = self.key_address(layer, block);
                values[layer * stride + block] = self.value_address(layer, block);
            }
        }
        let k_table = DeviceBuffer::from_host(stream, "block table", &keys)?;
        self.v_table = DeviceBuffer::from_host(stream, "block table", &values)?;
        self.k_table = k_table;
        (self.table_stride, self.table_blocks) = (stride, blocks);
        Ok(())
    }

    fn block_address(&self, buffer: &DeviceBuffer<bf16>, layer: usize) -> u64 {
        buffer.as_slice().address() + (layer * self.block_size() * size_of::<bf16>()) as u64
    }

    /// Elements of a block.
    pub(super) fn block_size(&self) -> usize {
        self.kv_dim() * BLOCK
    }

    /// Addresses of a layer's rows near the keys and of their index, or zeros.
    pub(super) fn near_addresses(&self, layer: usize) -> [u64; ADDRESSES as usize] {
        match &self.near {
            Some(near) if self.is_far(layer) => near.addresses(layer - self.near_layers),
            _ => [0; ADDRESSES as usize],
        }
    }

    /// Where appending rows of V puts those near the keys, in a layer that has
    /// such rows; the window begins at `from`.
    pub(super) fn near_of<'a>(
        &self,
        layer: usize,
        memory: DeviceSlice<'a, u64>,
        from: usize,
    ) -> Option<Near<'a>> {
        let (sinks, window) = (self.policy.sinks, self.policy.window);
        let near = Near {
            memory,
            // Without a window no position is in it.
            from: if window == 0 { u32::MAX as usize } else { from },
            sinks,
            window,
        };
        Some(near).filter(|_| self.near.is_some() && self.is_far(layer))
    }

    /// Blocks of every layer.
    pub(super) fn blocks(&self) -> usize {
        self.table_blocks
    }

    /// Positions that all layers hold.
    pub(super) fn len(&self) -> usize {
        self.lengths.iter().copied().min().unwrap_or(0)
    }

    /// The address of a block of K.
    pub(super) fn key_address(&self, layer: usize, block: usize) -> u64 {
        self.block_address(&self.keys[block], layer)
    }

    /// The address of a block of V.
    pub(super) fn value_address(&self, layer: usize, block: usize) -> u64 {
        match self.is_far(layer) {
            true => self
                .far_values
                .block_address(layer - self.near_layers, block),
            false => self.block_address(&self.near_values[block], layer),
        }
    }
}

impl Cuda {
    /// Makes room in `cache` for `positions` positions in one go, instead of as
    /// they come.
    ///
    /// # Errors
    /// [`crate::Error::Device`] if the device or the host has no more to give;
    /// [`crate::Error::InvalidArgument`] for more positions than it was made for.
    pub fn reserve(&self, cache: &mut CudaKvCache, positions: usize) -> Result<()> {
        cache.reserve(positions, &self.stream)
    }
}

impl SequenceCache for CudaKvCache {
    fn truncate(&mut self, len: usize) {
        for (length, stale) in self.lengths.iter_mut().zip(&mut self.stale) {
            *stale |= len < *length;
            *length = len.min(*length);
        }
        if let Some(near) = &mut self.near {
            near.stale |= self.stale.contains(&true);
        }
    }

    fn counters(&self) -> KvCounters {
        let mut counters = self.counters.clone();
        let row_bytes = (self.dim * size_of::<bf16>()) as u64;
        // What a lost device counted is lost with it.
        let traffic = self.near.as_ref().map(|near| near.traffic(&self.reader));
        if let Some(Ok([hits, misses])) = traffic {
            counters.rows_hit += hits;
            counters.rows_fetched += misses;
            counters.bytes_near += hits * row_bytes;
            counters.bytes_fetched += misses * row_bytes;
        }
        counters
    }

    fn bytes(&self) -> [usize; 3] {
        let bytes = |buffers: &[DeviceBuffer<bf16>]| -> usize {
            buffers.iter().map(|b| b.len() * size_of::<bf16>()).sum()
        };
        let near = self.near.as_ref();
        let values = bytes(&self.near_values)
            + self.far_values.bytes()
            + near.map_or(0, NearValues::near_bytes);
        let hot = near.map_or(0, NearValues::hot_bytes);
        [bytes(&self.keys), values, hot]
    }
}
