//! New rows of K and V on their way into a cache.

use std::ops::Range;
use std::sync::PoisonError;

use super::activation::Form;
use super::kernels::{Append, Rotation};
use super::stage::Rows;
use super::{Activation, Cuda, CudaKvCache};
use crate::{Error, Result};

/// Rows that are worth a stage; fewer are written to the host by the kernel.
const STAGED: usize = 16;

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
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
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
        };
        // SAFETY: the positions follow each other and were checked against the
        // angles when K was rotated; `reserve` made their blocks.
        unsafe { self.kernels.rope.append(&append, rotation, stream)? };
        if let Some((_, rows)) = cache.staged {
            let (size, more) = (cache.block_size(), layer + 1 < cache.lengths.len());
            stages.push(&mut cache.far_values, rows, more, size, stream)?;
            cache.pushing = true;
        }
        if cache.pushing && cache.stale[layer] {
            stages.settle(stream)?;
        }
        if let Some(total) = cache.total_mut(layer, stream)? {
            let bounds = self.uploads.get(&[0, count as u32], stream)?;
            // SAFETY: `v_rows` has `count` rows.
            unsafe {
                let kernels = &self.kernels.decode;
                kernels.total(&total, v_rows, bounds.as_slice(), stream)?;
            }
        }
        if cache.is_far(layer) {
            cache.counters.bytes_pushed += (count * cache.kv_dim() * 2) as u64;
        }
        cache.lengths[layer] += count;
        Ok(())
    }
}
