//! What a step's kernels read that the host knows: tokens, positions, and where
//! each sequence keeps its K, V and sums.

use super::CudaKvCache;
use super::activation::reserve;
use super::kernels::{Sequences, Shape};
use crate::Result;
use crate::driver::{Context, DeviceBuffer, DeviceSlice, Stream};

/// Lists of a step, each at a place of its own.
pub(super) struct Inputs {
    context: Context,
    shape: Option<Shape>,
    /// Tokens, positions, sequence numbers, lengths, starts of rows, lengths by pair.
    words: DeviceBuffer<u32>,
    /// K, then V: `[layers, sequences, table_stride]` each; totals `[layers, sequences]`.
    addresses: DeviceBuffer<u64>,
    /// What the addresses were made from: each cache, and its blocks.
    made_from: Vec<(u64, usize)>,
    layers: usize,
}

impl Inputs {
    pub fn new(context: &Context) -> Result<Self> {
        Ok(Self {
            context: context.clone(),
            shape: None,
            words: DeviceBuffer::new(context, "inputs", 0)?,
            addresses: DeviceBuffer::new(context, "block tables", 0)?,
            made_from: Vec::new(),
            layers: 0,
        })
    }

    /// Brings over what the next step reads.
    pub fn write(
        &mut self,
        caches: &[&mut CudaKvCache],
        tokens: &[u32],
        shape: Shape,
        stream: &Stream,
    ) -> Result<()> {
        let count = shape.sequences as u32;
        let positions: Vec<u32> = caches.iter().map(|cache| cache.len() as u32).collect();
        let lengths = positions.iter().map(|p| p + 1);
        let by_pair = lengths
            .clone()
            .flat_map(|length| std::iter::repeat_n(length, shape.kv_heads));
        let words: Vec<u32> = tokens
            .iter()
            .copied()
            .chain(positions.iter().copied())
            .chain(0..count)
            .chain(lengths)
            .chain(0..=count)
            .chain(by_pair)
            .collect();
        reserve(&mut self.words, &self.context, "inputs", words.len())?;
        let mut target = self.words.slice_mut(0..words.len())?;
        target.copy_from_host(&words, stream)?;

        let made_from: Vec<_> = caches.iter().map(|c| (c.number, c.blocks())).collect();
        if self.shape != Some(shape) || self.made_from != made_from {
            self.write_addresses(caches, shape, stream)?;
            self.made_from = made_from;
        }
        self.shape = Some(shape);
        Ok(())
    }

    fn write_addresses(
        &mut self,
        caches: &[&mut CudaKvCache],
        shape: Shape,
        stream: &Stream,
    ) -> Result<()> {
        self.layers = caches.first().map_or(0, |cache| cache.lengths.len());
        let table = shape.sequences * shape.table_stride;
        let mut addresses = vec![0u64; self.layers * (2 * table + shape.sequences)];
        let (tables, totals) = addresses.split_at_mut(2 * self.layers * table);
        let (keys, values) = tables.split_at_mut(self.layers * table);
        for layer in 0..self.layers {
            for (i, cache) in caches.iter().enumerate() {
                totals[layer * shape.sequences + i] = cache.total_address(layer);
                let row = (layer * shape.sequences + i) * shape.table_stride;
                for block in 0..cache.blocks() {
                    keys[row + block] = cache.key_address(layer, block);
                    values[row + block] = cache.value_address(layer, block);
                }
            }
        }
        let len = addresses.len();
        reserve(&mut self.addresses, &self.context, "block tables", len)?;
        let mut target = self.addresses.slice_mut(0..len)?;
        Ok(target.copy_from_host(&addresses, stream)?)
    }

    /// The new tokens.
    pub fn tokens(&self) -> Result<DeviceSlice<'_, u32>> {
        self.list(0)
    }

    /// Their positions.
    pub fn positions(&self) -> Result<DeviceSlice<'_, u32>> {
        self.list(1)
    }

    /// The number of each sequence in the batch.
    pub fn numbers(&self) -> Result<DeviceSlice<'_, u32>> {
        self.list(2)
    }

    /// Where each sequence's new rows begin, and where the last ends.
    pub fn starts(&self) -> Result<DeviceSlice<'_, u32>> {
        let count = self.sequences();
        Ok(self.words.slice(4 * count..5 * count + 1)?)
    }

    /// The length of each sequence, for each of its KV heads.
    pub fn lengths_by_pair(&self) -> Result<DeviceSlice<'_, u32>> {
        let first = 5 * self.sequences() + 1;
        let pairs = self.shape.map_or(0, |shape| shape.pairs());
        Ok(self.words.slice(first..first + pairs)?)
    }

    /// Lengths, and the tables of a layer.
    pub fn of_layer(&self, layer: usize) -> Result<Sequences<'_>> {
        let shape = self.shape;
        let table = shape.map_or(0, |shape| shape.sequences * shape.table_stride);
        let at = |index: usize| self.addresses.slice(index * table..(index + 1) * table);
        Ok(Sequences {
            lengths: self.list(3)?,
            k_table: at(layer)?,
            v_table: at(self.layers + layer)?,
        })
    }

    /// Addresses of the sums of all rows of V of a layer.
    pub fn totals(&self, layer: usize) -> Result<DeviceSlice<'_, u64>> {
        let count = self.sequences();
        let table = self.shape.map_or(0, |shape| count * shape.table_stride);
        let first = 2 * self.layers * table + layer * count;
        Ok(self.addresses.slice(first..first + count)?)
    }

    fn sequences(&self) -> usize {
        self.shape.map_or(0, |shape| shape.sequences)
    }

    fn list(&self, index: usize) -> Result<DeviceSlice<'_, u32>> {
        let count = self.sequences();
        Ok(self.words.slice(index * count..(index + 1) * count)?)
    }
}
