//! V on its way to the host while a prompt is read.
//!
//! A far layer's V is written to device memory, where this layer's attention
//! reads it, and leaves by the copy engine while the next layer computes. Two
//! such stages take turns. Of a prompt in several chunks, the earlier rows of
//! the next layer are brought back meanwhile.

use std::sync::Arc;

use half::bf16;

use super::activation::reserve;
use super::far_values::FarValues;
use super::timeline::{COPIES, Timeline};
use crate::cache::BLOCK;
use crate::driver::{Context, DeviceBuffer, DeviceSlice, Event, Stream};
use crate::{Result, trace};

/// Rows of V of one far layer, from the first position on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rows {
    /// The cache, by its number.
    pub cache: u64,
    /// The layer, among the far ones.
    pub layer: usize,
    /// How many rows there are before the new ones.
    pub earlier: usize,
    /// How many rows are new.
    pub new: usize,
}

impl Rows {
    /// The same rows of the layer after this.
    fn of_next_layer(self) -> Self {
        Self {
            layer: self.layer + 1,
            ..self
        }
    }

    fn blocks(&self) -> usize {
        (self.earlier + self.new).div_ceil(BLOCK)
    }
}

/// The stages, and the queue of the copy engine.
pub(super) struct Stages {
    copies: Copies,
    stages: [Stage; 2],
}

/// The queue of the copy engine, whose work is noted.
struct Copies {
    stream: Stream,
    timeline: Arc<Timeline>,
}

impl Copies {
    fn queue(&self, work: impl FnOnce(&Stream) -> Result<()>) -> Result<()> {
        let work = || work(&self.stream);
        self.timeline.around(COPIES, &self.stream, work)
    }
}

/// Device memory for the V of one layer.
struct Stage {
    context: Context,
    values: DeviceBuffer<bf16>,
    /// Addresses of its blocks.
    table: DeviceBuffer<u64>,
    /// What was last brought back to it.
    fetched: Option<Rows>,
    /// Reached when the kernels before a copy are done.
    written: Event,
    /// Reached when earlier rows are back.
    filled: Event,
    /// Reached when new rows are on the host.
    pushed: Event,
}

impl Stages {
    /// Empty stages, whose copies are noted in `timeline`.
    pub fn new(context: &Context, timeline: Arc<Timeline>) -> Result<Self> {
        Ok(Self {
            copies: Copies {
                stream: Stream::new(context)?,
                timeline,
            },
            stages: [Stage::new(context)?, Stage::new(context)?],
        })
    }

    /// Makes room for `rows`, brings back the earlier ones if that has not
    /// begun, and lets `stream` wait for it.
    pub fn prepare(
        &mut self,
        values: &FarValues,
        rows: Rows,
        block_size: usize,
        stream: &Stream,
    ) -> Result<()> {
        let Self { copies, stages } = self;
        let stage = &mut stages[rows.layer % 2];
        // A pass that was broken off may have left rows that are no longer so.
        let begun = rows.layer > 0 && stage.fetched == Some(rows);
        if !begun {
            stage.fetch(values, rows, block_size, stream, copies)?;
        }
        stream.wait(&stage.pushed)?;
        Ok(stream.wait(&stage.filled)?)
    }

    /// Addresses of the blocks of the stage of a layer.
    pub fn table(&self, layer: usize) -> DeviceSlice<'_, u64> {
        self.stages[layer % 2].table.as_slice()
    }

    /// Queues the copy of the new rows to the host, which the kernels queued on
    /// `stream` have written, and of the next layer's earlier rows back, if
    /// there is one.
    pub fn push(
        &mut self,
        values: &mut FarValues,
        rows: Rows,
        has_next: bool,
        block_size: usize,
        stream: &Stream,
    ) -> Result<()> {
        let Self { copies, stages } = self;
        let stage = &mut stages[rows.layer % 2];
        stage.fetched = None;
        stream.record(&stage.written)?;
        copies.stream.wait(&stage.written)?;
        let first = rows.earlier / BLOCK;
        let new = first * block_size..rows.blocks() * block_size;
        let source = stage.values.slice(new)?;
        copies.queue(|stream| values.push(rows.layer, first, source, stream))?;
        copies.stream.record(&stage.pushed)?;
        if has_next && rows.earlier > 0 {
            let next = rows.of_next_layer();
            stages[next.layer % 2].fetch(values, next, block_size, stream, copies)?;
        }
        Ok(())
    }

    /// Lets `stream` wait until all rows are on the host.
    pub fn settle(&self, stream: &Stream) -> Result<()> {
        for stage in &self.stages {
            stream.wait(&stage.pushed)?;
        }
        Ok(())
    }
}

impl Stage {
    fn new(context: &Context) -> Result<Self> {
        Ok(Self {
            context: context.clone(),
            values: DeviceBuffer::new(context, "V of a prompt", 0)?,
            table: DeviceBuffer::new(context, "block table", 0)?,
            fetched: None,
            written: Event::new(context)?,
            filled: Event::new(context)?,
            pushed: Event::new(context)?,
        })
    }

    /// Brings the earlier rows of `rows` back, after the kernels that `stream`
    /// holds: the last of them that read this stage, and those that wrote the
    /// rows to the host.
    fn fetch(
        &mut self,
        values: &FarValues,
        rows: Rows,
        block_size: usize,
        stream: &Stream,
        copies: &Copies,
    ) -> Result<()> {
        self.reserve(rows.blocks(), block_size, stream)?;
        stream.record(&self.written)?;
        copies.stream.wait(&self.written)?;
        if rows.earlier > 0 {
            let earlier = rows.earlier.div_ceil(BLOCK) * block_size;
            let mut target = self.values.slice_mut(0..earlier)?;
            let _range = trace::range(trace::Range::Fetch);
            copies.queue(|stream| values.fetch(rows.layer, &mut target, stream))?;
        }
        copies.stream.record(&self.filled)?;
        self.fetched = Some(rows);
        Ok(())
    }

    fn reserve(&mut self, blocks: usize, block_size: usize, stream: &Stream) -> Result<()> {
        if self.values.len() >= blocks * block_size && self.table.len() >= blocks {
            return Ok(());
        }
        let blocks = blocks.next_power_of_two();
        // A table that stayed while the values moved would lead to freed memory.
        self.table = DeviceBuffer::new(&self.context, "block table", 0)?;
        reserve(
            &mut self.values,
            &self.context,
            "V of a prompt",
            blocks * block_size,
        )?;
        let base = self.values.as_slice().address();
        let bytes = (block_size * size_of::<bf16>()) as u64;
        let table: Vec<u64> = (0..blocks as u64).map(|i| base + i * bytes).collect();
        self.table = DeviceBuffer::from_host(stream, "block table", &table)?;
        Ok(())
    }
}
