//! What a step's kernels read that the host knows: tokens, positions, and where
//! each sequence keeps its K, V and sums.

use gpu_kernels::kcache_attention::ADDRESSES;

use super::CudaKvCache;
use super::activation::reserve;
use super::kernels::{Places, Sequences, Shape};
use super::near_values::NearValues;
use crate::Result;
use crate::driver::{Context, DeviceBuffer, DeviceSlice, Stream};

/// Lists of a step, each at a place of its own.
pub(super) struct Inputs {
    context: Context,
    shape: Option<Shape>,
    /// Tokens, positions, sequence numbers, lengths.
    words: DeviceBuffer<u32>,
    /// K, then V: `[layers, sequences, table_stride]` each; totals `[layers, sequences]`;
    /// near rows `[layers, sequences, ADDRESSES]`; counters `[sequences]`.
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
        let words: Vec<u32> = tokens
            .iter()
            .copied()
            .chain(positions.iter().copied())
            .chain(0..count)
            .chain(lengths)
            .collect();
        reserve(&mut self.words, &self.context, "inputs", words.len())?;
        let mut target = self.words.slice_mut(0..words.len())?;
        target.copy_from_host(&words, stream)?;

        let made_from: Vec<_> = caches.iter().map(|c| (c.number, c.blocks())).collect();
        if self.shape != Some(shape) || self.made_from != made_from {
            // If that fails, the old ones are gone too.
            self.made_from.clear();
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
        let mut keys = vec![0u64; self.layers * table];
        let mut values = keys.clone();
        let (mut totals, mut near) = (Vec::new(), Vec::new());
        for layer in 0..self.layers {
            for (i, cache) in caches.iter().enumerate() {
                totals.push(cache.total_address(layer));
                near.extend(cache.near_addresses(layer));
                let row = (layer * shape.sequences + i) * shape.table_stride;
                for block in 0..cache.blocks() {
                    keys[row + block] = cache.key_address(layer, block);
                    values[row + block] = cache.value_address(layer, block);
                }
            }
        }
        let traffic = caches
            .iter()
            .map(|cache| cache.near.as_ref().map_or(0, NearValues::traffic_address));
        let traffic = traffic.collect();
        let addresses = [keys, values, totals, near, traffic].concat();
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

    /// Where a layer's rows near the keys are, `slots` hot ones of each KV head.
    pub fn places(&self, layer: usize, slots: usize) -> Result<Places<'_>> {
        let count = self.sequences();
        let table = self.shape.map_or(0, |shape| count * shape.table_stride);
        let near = self.layers * (2 * table + count);
        let width = count * ADDRESSES as usize;
        let first = near + layer * width;
        let traffic = near + self.layers * width;
        Ok(Places {
            memory: self.addresses.slice(first..first + width)?,
            traffic: self.addresses.slice(traffic..traffic + count)?,
            slots,
        })
    }

    fn sequences(&self) -> usize {
        self.shape.map_or(0, |shape| shape.sequences)
    }

    fn list(&self, index: usize) -> Result<DeviceSlice<'_, u32>> {
        let count = self.sequences();
        Ok(self.words.slice(index * count..(index + 1) * count)?)
    }
}
