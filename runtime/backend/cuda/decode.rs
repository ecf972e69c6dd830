//! Attention of a decode step: the newest position of each sequence over one of
//! its layers, by the policy.

use std::sync::PoisonError;

use gpu_kernels::v_combine::Weighting;
use half::bf16;

use super::activation::reserve;
use super::kernels::{
    FusedWorkspace, Rest, Selection, Shape, Workspace, mark_words, workspace_sizes,
};
use super::near_values::slots;
use super::step::StepState;
use super::{Cuda, CudaKvCache};
use crate::cache::BLOCK;
use crate::driver::{Context, DeviceBuffer, DeviceSlice, DeviceSliceMut, Stream};
use crate::{Error, Result, cache};

/// Buffers of [`Workspace`] and [`FusedWorkspace`], as large as any step so far needed.
pub(super) struct Buffers {
    context: Context,
    scores: DeviceBuffer<f32>,
    partials: DeviceBuffer<f32>,
    stats: DeviceBuffer<f32>,
    rows: DeviceBuffer<u32>,
    counts: DeviceBuffer<u32>,
    maxima: DeviceBuffer<f32>,
    masses: DeviceBuffer<f32>,
    arrivals: DeviceBuffer<u32>,
}

impl Buffers {
    pub fn new(context: &Context) -> Result<Self> {
        let floats = || DeviceBuffer::new(context, "attention", 0);
        let numbers = || DeviceBuffer::new(context, "attention", 0);
        Ok(Self {
            context: context.clone(),
            scores: floats()?,
            partials: floats()?,
            stats: floats()?,
            rows: numbers()?,
            counts: numbers()?,
            maxima: floats()?,
            masses: floats()?,
            arrivals: numbers()?,
        })
    }

    /// Makes room for a step whose far layers list `selection`, or all rows.
    pub fn reserve(
        &mut self,
        shape: Shape,
        selection: Option<Selection>,
        stream: &Stream,
    ) -> Result<()> {
        let context = &self.context;
        let parts = shape.queries() * shape.splits();
        let [scores, maxima, masses, partials, rows, arrivals] =
            selection.map_or([0; 6], |s| workspace_sizes(shape, s.top));
        for (buffer, len) in [
            (&mut self.scores, scores),
            (&mut self.maxima, maxima),
            (&mut self.masses, masses),
            (&mut self.partials, partials.max(parts * shape.dim)),
            (&mut self.stats, parts * 2),
        ] {
            reserve(buffer, context, "attention", len)?;
        }
        reserve(&mut self.rows, context, "attention", rows)?;
        reserve(&mut self.counts, context, "attention", shape.pairs())?;
        let arrivals = arrivals.max(shape.arrivals());
        if self.arrivals.len() < arrivals {
            reserve(&mut self.arrivals, context, "attention", arrivals)?;
            self.arrivals.as_mut_slice().fill_bytes(0, stream)?;
        }
        Ok(())
    }

    fn fused(&mut self) -> FusedWorkspace<'_> {
        FusedWorkspace {
            scores: self.scores.as_mut_slice(),
            maxima: self.maxima.as_mut_slice(),
            masses: self.masses.as_mut_slice(),
            partials: self.partials.as_mut_slice(),
            rows: self.rows.as_mut_slice(),
            arrivals: self.arrivals.as_mut_slice(),
            counts: self.counts.as_mut_slice(),
        }
    }

    fn workspace(&mut self) -> Workspace<'_> {
        Workspace {
            partials: self.partials.as_mut_slice(),
            stats: self.stats.as_mut_slice(),
            arrivals: self.arrivals.as_mut_slice(),
        }
    }
}

impl Cuda {
    /// Queues the attention of the running step in `layer`, whose V is away from
    /// the keys if `is_far`: `q` and `out` `[sequences, q_heads, dim]`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] outside of a step; driver errors.
    pub(super) fn attend(
        &self,
        layer: usize,
        is_far: bool,
        q: DeviceSlice<'_, bf16>,
        out: &DeviceSliceMut<'_, bf16>,
    ) -> Result<()> {
        let mut step = self.step.lock().unwrap_or_else(PoisonError::into_inner);
        let StepState {
            inputs,
            buffers,
            shape,
            policy,
            selection,
            scan,
            listed,
        } = step.as_mut().ok_or_else(outside)?;
        let (shape, stream, kernels) = (*shape, &self.stream, &self.kernels.decode);
        let sequences = inputs.of_layer(layer)?;
        let Some(selection) = selection.filter(|_| is_far) else {
            let (work, rows) = (buffers.workspace(), (sequences, is_far));
            // SAFETY: the tables lead to blocks for all lengths, none of which
            // exceeds the capacity; launches follow each other.
            return self.launch(|| unsafe { kernels.dense(&work, shape, (q, out), rows, stream) });
        };
        let rest = Rest {
            weighting: weighting(policy.weighting),
            totals: inputs.totals(layer)?,
        };
        let places = inputs.places(layer, slots(policy, shape.table_stride * BLOCK))?;
        let work = buffers.fused();
        let (rows, places) = ((selection, rest), (sequences, places));
        let kernels = kernels.selecting(*scan);
        self.launch(|| {
            self.timeline
                .with_marks(mark_words(shape), stream, |marks| {
                    // SAFETY: as above; the caches keep sinks and window near.
                    unsafe { kernels.run(&work, shape, (q, out), rows, places, marks, stream) }
                })
        })?;
        if selection.p < 1.0 {
            let mut counts = vec![0; shape.pairs()];
            let on_device = work.counts.as_slice().slice(0..shape.pairs())?;
            on_device.copy_to_host(&mut counts, stream)?;
            listed.push((layer, counts));
        }
        Ok(())
    }
}

/// What an operation of a step answers where none is running.
pub(super) fn outside() -> Error {
    Error::InvalidArgument("an operation of a decode step outside of one".into())
}

fn weighting(weighting: cache::Weighting) -> Weighting {
    match weighting {
        cache::Weighting::Raw => Weighting::Raw,
        cache::Weighting::Renormalised => Weighting::Renormalised,
        cache::Weighting::MeanV => Weighting::MeanV,
    }
}

impl CudaKvCache {
    /// Counts in the position that a step has appended, as number `index` of its
    /// sequences, and what the step read.
    pub(super) fn advance(&mut self, index: usize, step: &StepState) {
        let row_bytes = (self.dim * size_of::<bf16>()) as u64;
        let pairs = index * self.kv_heads..(index + 1) * self.kv_heads;
        for layer in 0..self.lengths.len() {
            self.lengths[layer] += 1;
            let length = self.lengths[layer];
            let far = self.is_far(layer);
            let chosen = step.selection.filter(|_| far);
            let on_device = step.listed.iter().find(|(of, _)| *of == layer);
            let sinks = self.policy.sinks.min(length);
            let always = sinks + self.policy.window.min(length - sinks);
            let counters = &mut self.counters;
            for pair in pairs.clone() {
                let size = match (on_device, chosen) {
                    (Some((_, counts)), _) => counts[pair] as usize,
                    (None, Some(chosen)) => chosen.room().min(length),
                    (None, None) => length,
                };
                counters.bytes_near += length as u64 * row_bytes;
                if far {
                    counters.note_set(size);
                    let needed = size.saturating_sub(always) as u64;
                    counters.rows_needed += needed;
                    counters.bytes_pushed += row_bytes;
                    if chosen.is_some() && self.near.is_some() {
                        // The device counts which rows were hot.
                        counters.bytes_near += always as u64 * row_bytes;
                    } else {
                        counters.rows_fetched += needed;
                        counters.bytes_fetched += size as u64 * row_bytes;
                    }
                } else {
                    counters.bytes_near += size as u64 * row_bytes;
                }
            }
        }
    }
}
