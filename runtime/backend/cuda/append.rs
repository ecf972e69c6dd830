//! New rows of K and V on their way into a cache.

use std::ops::Range;
use std::sync::PoisonError;

use gpu_kernels::kcache_attention::ADDRESSES;

use super::activation::Form;
use super::decode::outside;
use super::kernels::{Append, Rotation};
use super::stage::Rows;
use super::{Cuda, CudaKvCache};
use crate::backend::{self, Heads};
use crate::{Error, Result, trace};

/// Rows that are worth a stage; fewer are written to the host by the kernel.
const STAGED: usize = 16;

/// A layer's part of [`CudaKvCache::memory`].
fn memory_of(layer: usize) -> Range<usize> {
    layer * ADDRESSES as usize..(layer + 1) * ADDRESSES as usize
}

impl Cuda {
    /// Rotates Q in `heads`, and appends the rows of K, rotated, and V to `layer`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the positions are not those that come next;
    /// driver errors.
    pub(super) fn append_rows(
        &self,
        cache: &mut CudaKvCache,
        layer: usize,
        heads: Heads<'_, Self>,
        rotation: backend::Rotation<'_, Self>,
    ) -> Result<()> {
        let _range = trace::range(trace::Range::Push);
        let stream = &self.stream;
        let rope = rotation.rope;
        let positions = rope.positions(rotation.positions)?;
        let (first, count) = (cache.lengths[layer], positions.len());
        let expected = (first..first + count).map(|p| p as u32);
        if !positions.iter().copied().eq(expected) {
            return Err(Error::InvalidArgument(format!(
                "rows at positions {positions:?}, and {first} is next"
            )));
        }
        cache.reserve(first + count, stream)?;
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.stale.contains(&true) {
            stages.settle(stream)?;
            cache.refresh_totals(stream)?;
        }

        let positions = self.uploads.get(&positions, stream)?;
        let sequences = self.uploads.get(&vec![0; count], stream)?;
        let rotation = Rotation {
            style: rope.style,
            angles: rope.angles.as_slice(),
            positions: positions.as_slice(),
            sequences: sequences.as_slice(),
            q_heads: cache.q_heads,
            kv_heads: cache.kv_heads,
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
        let (q, q_out) = heads.q.floats_to_halves()?;
        let v_rows = heads.v.floats()?;
        let append = Append {
            q,
            q_out: &q_out,
            k: heads.k.floats()?,
            v: v_rows,
            k_table,
            v_table,
            table_stride: 0,
            near: cache.near_of(
                layer,
                cache.memory.slice(memory_of(layer))?,
                (first + count).saturating_sub(cache.policy.window),
            ),
            // Several rows at once are added up first.
            totals: None,
        };
        // SAFETY: the positions follow each other and were checked against the
        // angles; `reserve` made their blocks.
        self.launch(|| unsafe { self.kernels.rope.append(&append, rotation, stream) })?;
        heads.q.form = Form::Rotated;
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

    /// The same of row `i` and sequence `i` of the running step. The step counts
    /// the position in.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] outside of a step or for positions that the
    /// model lacks; driver errors.
    pub(super) fn append_step_rows(
        &self,
        cache: &CudaKvCache,
        layer: usize,
        heads: Heads<'_, Self>,
        rotation: backend::Rotation<'_, Self>,
    ) -> Result<()> {
        let _range = trace::range(trace::Range::Push);
        let step = self.step.lock().unwrap_or_else(PoisonError::into_inner);
        let step = step.as_ref().ok_or_else(outside)?;
        let rope = rotation.rope;
        rope.positions(rotation.positions)?;
        let sequences = step.inputs.of_layer(layer)?;
        let rotation = Rotation {
            style: rope.style,
            angles: rope.angles.as_slice(),
            positions: step.inputs.positions()?,
            sequences: step.inputs.numbers()?,
            q_heads: cache.q_heads,
            kv_heads: cache.kv_heads,
            dim: cache.dim,
        };
        let (q, q_out) = heads.q.floats_to_halves()?;
        let totals = match cache.has_totals(layer) {
            true => Some(step.inputs.totals(layer)?),
            false => None,
        };
        let append = Append {
            q,
            q_out: &q_out,
            k: heads.k.floats()?,
            v: heads.v.floats()?,
            k_table: sequences.k_table,
            v_table: sequences.v_table,
            table_stride: step.shape.table_stride,
            near: cache.near_of(layer, step.inputs.places(layer, 0)?.memory, 0),
            totals,
        };
        // SAFETY: the positions are those after the sequences' last, for which
        // the step has made blocks; there is one row for each sequence.
        self.launch(|| unsafe { self.kernels.rope.append(&append, rotation, &self.stream) })?;
        heads.q.form = Form::Rotated;
        Ok(())
    }
}
