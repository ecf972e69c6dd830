//! V that a policy keeps on the host: pinned memory that kernels reach, one
//! range of addresses for each layer.

use half::bf16;

use crate::Result;
use crate::cache::BLOCK;
use crate::driver::{Context, DeviceSlice, DeviceSliceMut, PinnedArena, Stream};

/// Blocks that are pinned at once.
const STEP: usize = 16;

/// V of the far layers of one sequence, in blocks `[kv_head][position % 64][d]`
/// that follow each other by position.
pub(super) struct FarValues {
    layers: Vec<PinnedArena>,
    block_bytes: usize,
}

impl FarValues {
    /// Reserves addresses for `layers` layers of `positions` positions of
    /// `kv_dim` elements; memory comes as the sequence grows.
    pub fn reserve(
        context: &Context,
        layers: usize,
        positions: usize,
        kv_dim: usize,
    ) -> Result<Self> {
        let block_bytes = kv_dim * BLOCK * size_of::<bf16>();
        let capacity = positions.div_ceil(BLOCK) * block_bytes;
        let layers = (0..layers).map(|_| PinnedArena::reserve(context, capacity));
        Ok(Self {
            layers: layers.collect::<Result<_, _>>()?,
            block_bytes,
        })
    }

    /// Pins memory for `blocks` blocks of every layer.
    ///
    /// # Errors
    /// [`crate::Error::Device`] if the host has no more to give, with advice.
    pub fn grow(&mut self, blocks: usize) -> Result<()> {
        let needed = blocks * self.block_bytes;
        for arena in &mut self.layers {
            if arena.len() < needed {
                let ahead = needed + STEP * self.block_bytes;
                arena.grow(ahead.min(arena.capacity()), needed)?;
            }
        }
        Ok(())
    }

    /// Bytes pinned.
    pub fn bytes(&self) -> usize {
        self.layers.iter().map(PinnedArena::len).sum()
    }

    /// Where kernels find a block.
    pub fn block_address(&self, layer: usize, block: usize) -> u64 {
        self.layers[layer].address() + (block * self.block_bytes) as u64
    }

    /// Queues a copy of whole blocks from the device, the first of which is `block`.
    pub fn push(
        &mut self,
        layer: usize,
        block: usize,
        source: DeviceSlice<'_, bf16>,
        stream: &Stream,
    ) -> Result<()> {
        let offset = block * self.block_bytes;
        Ok(self.layers[layer].copy_from_device(offset, source, stream)?)
    }

    /// Queues a copy of the first blocks of a layer to the device.
    pub fn fetch(
        &self,
        layer: usize,
        target: &mut DeviceSliceMut<'_, bf16>,
        stream: &Stream,
    ) -> Result<()> {
        Ok(self.layers[layer].copy_to_device(0, target, stream)?)
    }

    /// Brings a block to host memory of the caller, after what `stream` holds.
    pub fn read(
        &self,
        layer: usize,
        block: usize,
        target: &mut [bf16],
        stream: &Stream,
    ) -> Result<()> {
        Ok(self.layers[layer].read(block * self.block_bytes, target, stream)?)
    }
}
