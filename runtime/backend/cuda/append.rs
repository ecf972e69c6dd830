//! New rows of K and V on their way into a cache.

use std::ops::Range;
use std::sync::PoisonError;

use gpu_kernels::kcache_attention::ADDRESSES;

use super::activation::Form;
use super::decode::outside;
use super::kernels::{Append, Rotation};
use super::stage::Rows;
use super::{Activation, Cuda, CudaKvCache};
use crate::{Error, Result, trace};

/// Rows that are worth a stage; fewer are written to the host by the kernel.
const STAGED: usize = 16;

/// A layer's part of [`CudaKvCache::memory`].
fn memory_of(layer: usize) -> Range<usize> {
    layer * ADDRESSES as usize..(layer + 1) * ADDRESSES as usize
}

impl Cuda {
    /// Appends rows `rows` of `k`, which was rotated, and of `v` to `layer`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if `k` was not rotated to the positions that
    /// come next; driver errors.
    pub(super) fn append_rows(
        &self,
        cache: &mut CudaKvCache,
        layer: usize,
        k: &Activation,
        v: &Activation,
        rows: Range<usize>,
    ) -> Result<()> {
        let _range = trace::range(trace::Range::Push);
        let stream = &self.stream;
        let (first, count) = (cache.lengths[layer], rows.len());
        let Form::Rotated(rotated) = &k.form else {
            return Err(Error::InvalidArgument(
                "K has not been rotated to its positions".into(),
            ));
        };
        let positions = rotated.positions.get(rows.clone()).unwrap_or_default();
        let expected = (first..first + count).map(|p| p as u32);
        if !positions.iter().copied().eq(expected) {
            return Err(Error::InvalidArgument(format!(
                "K was rotated to positions {positions:?}, and {first} is next"
            )));
        }
        cache.reserve(first + count, stream)?;
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.stale.contains(&true) {
            stages.settle(stream)?;
            cache.refresh_totals(stream)?;
        }

        let floats = rows.start * k.width..rows.end * k.width;
        let v_rows = v.floats()?.slice(floats.clone())?;
        let positions = self.uploads.get(positions, stream)?;
        let sequences = self.uploads.get(&vec![0; count], stream)?;
        let rotation = Rotation {
            style: rotated.rope.style,
            angles: rotated.rope.angles.as_slice(),
            positions: positions.as_slice(),
            sequences: sequences.as_slice(),
            heads: cache.kv_heads,
            dim: cache.dim,
        };
        cache.staged = None;
        if cache.is_far(layer) && count >= STAGED {
            let rows = Rows {
                cache: cache.number,
                layer: layer - cache.near_layers,
                earlier: first,
                new: count,
            };
            stages.prepare(&cache.far_values, rows, cache.block_size(), stream)?;
            cache.staged = Some((layer, rows));
        } else if cache.pushing {
            stages.settle(stream)?;
            cache.pushing = false;
        }
        let (k_table, v_table) = cache.tables(layer)?;
        let v_table = match cache.staged {
            Some((_, rows)) => stages.table(rows.layer),
            None => v_table,
        };
        let append = Append {
            k: k.floats()?.slice(floats)?,
            v: v_rows,
            k_table,
            v_table,
            table_stride: 0,
            near: cache.near_of(
                layer,
                cache.memory.slice(memory_of(layer))?,
                (first + count).saturating_sub(cache.policy.window),
            ),
        };
        // SAFETY: the positions follow each other and were checked against the
        // angles when K was rotated; `reserve` made their blocks.
        self.launch(|| unsafe { self.kernels.rope.append(&append, rotation, stream) })?;
        if let Some((_, rows)) = cache.staged {
            let (size, more) = (cache.block_size(), layer + 1 < cache.lengths.len());
            stages.push(&mut cache.far_values, rows, more, size, stream)?;
            cache.pushing = true;
        }
        if cache.has_totals(layer) {
            let bounds = self.uploads.get(&[0, count as u32], stream)?;
            let totals = cache.total_addresses.slice(layer..layer + 1)?;
            let (bounds, width) = (bounds.as_slice(), cache.kv_dim());
            let kernels = &self.kernels.decode;
            // SAFETY: `v_rows` has `count` rows, and the totals are the cache's.
            self.launch(|| unsafe { kernels.total(totals, v_rows, bounds, width, stream) })?;
        }
        if cache.is_far(layer) {
            cache.counters.bytes_pushed += (count * cache.kv_dim() * 2) as u64;
        }
        cache.lengths[layer] += count;
        Ok(())
    }

    /// Appends row `i` of `k`, which was rotated, and of `v` to sequence `i` of
    /// the running step, in `layer`. The step counts the position in.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] outside of a step; driver errors.
    pub(super) fn append_step_rows(
        &self,
        cache: &CudaKvCache,
        layer: usize,
        k: &Activation,
        v: &Activation,
    ) -> Result<()> {
        let _range = trace::range(trace::Range::Push);
        let step = self.step.lock().unwrap_or_else(PoisonError::into_inner);
        let step = step.as_ref().ok_or_else(outside)?;
        let Form::Rotated(rotated) = &k.form else {
            return Err(Error::InvalidArgument(
                "K has not been rotated to its positions".into(),
            ));
        };
        let sequences = step.inputs.of_layer(layer)?;
        let rotation = Rotation {
            style: rotated.rope.style,
            angles: rotated.rope.angles.as_slice(),
            positions: step.inputs.positions()?,
            sequences: step.inputs.numbers()?,
            heads: cache.kv_heads,
            dim: cache.dim,
        };
        let append = Append {
            k: k.floats()?,
            v: v.floats()?,
            k_table: sequences.k_table,
            v_table: sequences.v_table,
            table_stride: step.shape.table_stride,
            near: cache.near_of(layer, step.inputs.places(layer, 0)?.memory, 0),
        };
        // SAFETY: the positions are those after the sequences' last, for which
        // the step has made blocks.
        self.launch(|| unsafe { self.kernels.rope.append(&append, rotation, &self.stream) })?;
        if cache.has_totals(layer) {
            let (totals, starts) = (step.inputs.totals(layer)?, step.inputs.starts()?);
            let (rows, width) = (v.floats()?, cache.kv_dim());
            let (kernels, stream) = (&self.kernels.decode, &self.stream);
            // SAFETY: one row for each sequence, whose totals these are.
            self.launch(|| unsafe { kernels.total(totals, rows, starts, width, stream) })?;
        }
        Ok(())
    }
}
