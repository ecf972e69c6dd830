//! One position's attention over one layer of one sequence, by its policy.

use std::sync::PoisonError;

use gpu_kernels::select_rows::GroupScore;
use gpu_kernels::v_combine::Weighting;
use half::bf16;

use super::activation::reserve;
use super::kernels::{Rest, Selection, Shape, Workspace};
use super::{Cuda, CudaKvCache};
use crate::Result;
use crate::cache;
use crate::driver::{Context, DeviceBuffer, DeviceSlice, DeviceSliceMut};

/// Rows of V that a step lists where it uses all of them: the kernel that merges
/// the softmax lists rows, too.
const NEWEST: Selection = Selection {
    sinks: 0,
    window: 1,
    top: 0,
    group_score: GroupScore::Sum,
};

/// Buffers of [`Workspace`], as large as any step so far needed.
pub(super) struct Buffers {
    context: Context,
    scores: DeviceBuffer<f32>,
    mass: DeviceBuffer<f32>,
    partials: DeviceBuffer<f32>,
    stats: DeviceBuffer<f32>,
    rows: DeviceBuffer<u32>,
    counts: DeviceBuffer<u32>,
    sums: DeviceBuffer<f32>,
    kept: DeviceBuffer<f32>,
}

impl Buffers {
    pub fn new(context: &Context) -> Result<Self> {
        let floats = || DeviceBuffer::new(context, "attention", 0);
        let numbers = || DeviceBuffer::new(context, "attention", 0);
        Ok(Self {
            context: context.clone(),
            scores: floats()?,
            mass: floats()?,
            partials: floats()?,
            stats: floats()?,
            rows: numbers()?,
            counts: numbers()?,
            sums: floats()?,
            kept: floats()?,
        })
    }

    /// Room for a step; `rows` bounds the rows of V that it sums.
    fn workspace(
        &mut self,
        shape: Shape,
        selection: Selection,
        rows: usize,
    ) -> Result<Workspace<'_>> {
        let context = &self.context;
        let (q_heads, kv_heads) = (shape.q_heads, shape.kv_heads);
        let parts = q_heads * shape.sum_splits(rows);
        // Lengths grow by one: ask for more, to ask seldom.
        let stride = shape.score_stride().next_power_of_two();
        let splits = shape.score_splits().next_power_of_two();
        for (buffer, len) in [
            (&mut self.scores, q_heads * stride),
            (&mut self.mass, kv_heads * stride),
            (&mut self.partials, q_heads * splits * 2),
            (&mut self.stats, q_heads * 2),
            (&mut self.sums, parts * shape.dim),
            (&mut self.kept, parts),
        ] {
            reserve(buffer, context, "attention", len)?;
        }
        reserve(
            &mut self.rows,
            context,
            "attention",
            kv_heads * selection.room(),
        )?;
        reserve(&mut self.counts, context, "attention", kv_heads)?;
        Ok(Workspace {
            scores: self.scores.as_mut_slice(),
            mass: self.mass.as_mut_slice(),
            partials: self.partials.as_mut_slice(),
            stats: self.stats.as_mut_slice(),
            rows: self.rows.as_mut_slice(),
            counts: self.counts.as_mut_slice(),
            sums: self.sums.as_mut_slice(),
            kept: self.kept.as_mut_slice(),
        })
    }
}

impl Cuda {
    /// Attention of the newest position of `cache` in `layer`: `q` and `out`
    /// `[q_heads, dim]`.
    pub(super) fn decode_one(
        &self,
        cache: &mut CudaKvCache,
        layer: usize,
        q: DeviceSlice<'_, bf16>,
        out: &DeviceSliceMut<'_, bf16>,
    ) -> Result<()> {
        let (stream, kernels) = (&self.stream, &self.kernels.decode);
        let shape = Shape {
            q_heads: q.len() / cache.dim,
            kv_heads: cache.kv_heads,
            dim: cache.dim,
            length: cache.lengths[layer],
        };
        let chosen = selection(cache, layer);
        let rows = chosen.map_or(shape.length, |s| s.room());
        let length = self.uploads.get(&[shape.length as u32], stream)?;
        let length = length.as_slice();
        let (k_table, v_table) = cache.tables(layer)?;
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        let work = buffers.workspace(shape, chosen.unwrap_or(NEWEST), rows)?;
        let every = vec![shape.length as u32; shape.kv_heads];
        // SAFETY: `append` made blocks for all positions; the kernels run in this
        // order; `length` and `every` hold the length.
        unsafe {
            kernels.score(&work, shape, q, k_table, length, stream)?;
            kernels.select(&work, shape, chosen.unwrap_or(NEWEST), length, stream)?;
            if let (Some(chosen), cache::Selection::TopP { p, .. }) =
                (chosen, cache.policy.selection)
            {
                kernels.trim(&work, shape, chosen, p, length, stream)?;
            }
            match chosen {
                Some(_) => {
                    let counts = work.counts.as_slice();
                    kernels.sum(&work, shape, chosen, counts, v_table, stream)?;
                }
                None => {
                    let counts = self.uploads.get(&every, stream)?;
                    kernels.sum(&work, shape, None, counts.as_slice(), v_table, stream)?;
                }
            }
            let (weighting, totals) = match chosen {
                Some(_) => (weighting(cache.policy.weighting), cache.total(layer)?),
                None => (Weighting::Raw, None),
            };
            let rest = Rest {
                rows,
                weighting,
                totals,
            };
            kernels.combine(&work, shape, rest, length, out, stream)?;
        }
        let sizes = match (chosen, cache.policy.selection) {
            (Some(_), cache::Selection::TopP { .. }) => {
                let mut counts = vec![0; shape.kv_heads];
                let listed = work.counts.as_slice().slice(0..shape.kv_heads)?;
                listed.copy_to_host(&mut counts, stream)?;
                counts
            }
            (Some(chosen), _) => vec![chosen.room() as u32; shape.kv_heads],
            (None, _) => every,
        };
        count(cache, layer, &sizes);
        Ok(())
    }
}

/// The rows to list, `None` for all.
fn selection(cache: &CudaKvCache, layer: usize) -> Option<Selection> {
    let (length, policy) = (cache.lengths[layer], &cache.policy);
    let top = match policy.selection {
        cache::Selection::TopN { n } => n,
        cache::Selection::TopP { n_max, .. } => n_max,
        cache::Selection::Full | cache::Selection::FullOffload => return None,
    };
    if !cache.is_far(layer) {
        return None;
    }
    let sinks = policy.sinks.min(length);
    let window = policy.window.min(length - sinks);
    if matches!(policy.selection, cache::Selection::TopN { .. }) && top >= length - sinks - window {
        // Dense attention to the last bit: no share of probability is left over.
        return None;
    }
    Some(Selection {
        sinks,
        window,
        top: top.min(length - sinks - window),
        group_score: match (policy.selection, policy.group_score) {
            (cache::Selection::TopN { .. }, cache::GroupScore::Max) => GroupScore::Max,
            // A probability to reach is one of sums.
            _ => GroupScore::Sum,
        },
    })
}

fn weighting(weighting: cache::Weighting) -> Weighting {
    match weighting {
        cache::Weighting::Raw => Weighting::Raw,
        cache::Weighting::Renormalised => Weighting::Renormalised,
        cache::Weighting::MeanV => Weighting::MeanV,
    }
}

/// Notes a step that used `sizes` rows of V for its KV heads. Sinks and window
/// lie on the host with the rest, so their bytes are fetched as well.
fn count(cache: &mut CudaKvCache, layer: usize, sizes: &[u32]) {
    let row_bytes = (cache.dim * size_of::<bf16>()) as u64;
    let (length, far) = (cache.lengths[layer], cache.is_far(layer));
    let sinks = cache.policy.sinks.min(length);
    let always = (sinks + cache.policy.window.min(length - sinks)) as u64;
    let counters = &mut cache.counters;
    for &size in sizes {
        counters.bytes_near += length as u64 * row_bytes;
        if far {
            let size = u64::from(size);
            counters.note_set(size as usize);
            counters.rows_needed += size - always.min(size);
            counters.rows_fetched += size - always.min(size);
            counters.bytes_fetched += size * row_bytes;
        } else {
            counters.bytes_near += u64::from(size) * row_bytes;
        }
    }
}
