//! The backend's operations: sizes and forms are worked out here, launches are
//! in `kernels`.

use std::ops::Range;
use std::sync::{Arc, PoisonError};

use half::bf16;
use kcache_models::Tensor;
use kcache_models::config::ModelConfig;
use kcache_models::weights::WeightSizes;

use super::activation::Form;
use super::kernels::Prefill;
use super::{
    Activation, Cuda, CudaKvCache, Matrix, PREFILL_CHUNK, RopeTable, StepMemo, geometry, load,
    memory,
};
use crate::backend::{Backend, Bandwidth, Heads, Memory, Norm, Projection, Rotation};
use crate::cache::KvPolicy;
use crate::driver::{DeviceBuffer, DeviceSlice, HostLimits};
use crate::trace;
use crate::{Error, Result};

impl Backend for Cuda {
    type Matrix = Matrix;
    type Vector = DeviceBuffer<f32>;
    type Activation = Activation;
    type Rope = Arc<RopeTable>;
    type KvCache = CudaKvCache;
    type StepMemo = StepMemo;

    fn prefill_chunk(&self) -> usize {
        PREFILL_CHUNK
    }

    fn name(&self) -> String {
        self.context.device().to_string()
    }

    fn check(&self, config: &ModelConfig) -> Result<()> {
        geometry::check(config)
    }

    fn memory(&self, config: &ModelConfig, weights: &WeightSizes, loaded: bool) -> Result<Memory> {
        let sizes = memory(config, weights, Some(HostLimits::read().spare()));
        let taken = if loaded { sizes.weights } else { 0 };
        Ok(Memory {
            available: Some(self.context.memory_info()?.free + taken),
            ..sizes
        })
    }

    fn bandwidth(&self) -> Result<Bandwidth> {
        self.copy_bandwidth()
    }

    /// One pass at a time: stages and workspaces are those of the pass. The
    /// context each call of the driver makes current for itself.
    fn scope<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        work()
    }

    fn matrix(&self, tensor: &Tensor) -> Result<Matrix> {
        load::matrix(tensor, &self.stream)
    }

    fn matrix_bytes(&self, matrix: &Matrix) -> u64 {
        (matrix.data.len() * size_of::<bf16>()) as u64
    }

    fn vector(&self, tensor: &Tensor) -> Result<DeviceBuffer<f32>> {
        load::vector(tensor, &self.stream)
    }

    fn rope(&self, config: &ModelConfig) -> Result<Arc<RopeTable>> {
        Ok(Arc::new(RopeTable::new(config, &self.stream)?))
    }

    fn activation(&self, width: usize) -> Result<Activation> {
        Activation::new(&self.context, width)
    }

    /// Memory is taken by the first operation that writes so many rows.
    fn resize(&self, x: &mut Activation, rows: usize) -> Result<()> {
        x.rows = rows;
        Ok(())
    }

    fn kv_cache(
        &self,
        config: &ModelConfig,
        policy: &KvPolicy,
        n_ctx: usize,
    ) -> Result<CudaKvCache> {
        self.kernels.prepare(config.head_dim, policy.selects())?;
        CudaKvCache::new(config, policy, n_ctx, &self.stream)
    }

    fn embed(&self, table: &Matrix, ids: &[u32], out: &mut Activation) -> Result<()> {
        if let Some(id) = ids.iter().find(|&&id| id as usize >= table.rows) {
            return Err(Error::InvalidArgument(format!(
                "token id {id} is outside the vocabulary of {}",
                table.rows
            )));
        }
        let (table, width) = (table.data.as_slice(), table.cols);
        let out = out.write_floats()?;
        let step = self.step.lock().unwrap_or_else(PoisonError::into_inner);
        let uploaded;
        let ids = match step.as_ref() {
            Some(step) => step.inputs.tokens()?,
            None => {
                uploaded = self.uploads.get(ids, &self.stream)?;
                uploaded.as_slice()
            }
        };
        let rows = &self.kernels.rows;
        // SAFETY: the ids were checked.
        self.launch(|| unsafe { rows.embed(&out, table, ids, width, &self.stream) })
    }

    fn rms_norm(
        &self,
        x: &Activation,
        weight: &DeviceBuffer<f32>,
        eps: f32,
        out: &mut Activation,
    ) -> Result<()> {
        let (x, weight) = (x.floats()?, weight.as_slice());
        let out = out.write_halves()?;
        let rows = &self.kernels.rows;
        self.launch(|| rows.rms_norm(&out, x, weight, eps, &self.stream))
    }

    fn linear(&self, x: &Activation, projections: &mut [Projection<'_, Self>]) -> Result<()> {
        self.multiply(x, projections)
    }

    fn add_linear(
        &self,
        residual: &mut Activation,
        x: &Activation,
        projection: Projection<'_, Self>,
    ) -> Result<()> {
        self.multiply_adding(residual, x, projection)
    }

    fn norm_gated(
        &self,
        x: &Activation,
        norm: Norm<'_, Self>,
        normed: &mut Activation,
        both: [Projection<'_, Self>; 2],
    ) -> Result<()> {
        self.multiply_gated(x, norm, normed, both)
    }

    fn append(
        &self,
        cache: &mut CudaKvCache,
        layer: usize,
        heads: Heads<'_, Self>,
        rotation: Rotation<'_, Self>,
    ) -> Result<()> {
        let appended = self.append_rows(cache, layer, heads, rotation);
        if appended.is_err() {
            cache.distrust();
        }
        appended
    }

    fn decode_step(
        &self,
        memo: &mut StepMemo,
        caches: &mut [&mut CudaKvCache],
        tokens: &[u32],
        work: &mut dyn FnMut(&mut [&mut CudaKvCache]) -> Result<()>,
    ) -> Result<()> {
        self.run_step(memo, caches, tokens, work)
    }

    fn append_each(
        &self,
        caches: &mut [&mut CudaKvCache],
        layer: usize,
        heads: Heads<'_, Self>,
        rotation: Rotation<'_, Self>,
    ) -> Result<()> {
        match caches.first() {
            Some(cache) => self.append_step_rows(cache, layer, heads, rotation),
            None => Ok(()),
        }
    }

    fn prefill_attention(
        &self,
        cache: &CudaKvCache,
        layer: usize,
        q: &Activation,
        out: &mut Activation,
    ) -> Result<()> {
        let _range = trace::range(trace::Range::Attention);
        let (k_table, mut v_table) = cache.tables(layer)?;
        let stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((staged, rows)) = cache.staged
            && staged == layer
        {
            v_table = stages.table(rows.layer);
        }
        let out = out.write_halves()?;
        let attend = |halves: DeviceSlice<'_, bf16>| {
            let prefill = Prefill {
                out: &out,
                q: halves,
                k_table,
                v_table,
                rows: q.rows,
                first: cache.lengths[layer] - q.rows,
                q_heads: q.width / cache.dim,
                kv_heads: cache.kv_heads,
                dim: cache.dim,
            };
            // SAFETY: `append` made blocks for all positions.
            Ok(unsafe { self.kernels.attention.prefill(&prefill, &self.stream) }?)
        };
        self.launch(|| self.with_halves(q, attend))
    }

    fn decode_attention(
        &self,
        caches: &mut [&mut CudaKvCache],
        layer: usize,
        q: &Activation,
        out: &mut Activation,
    ) -> Result<()> {
        let Some(cache) = caches.first() else {
            return Ok(());
        };
        let _range = trace::range(trace::Range::Attention);
        let is_far = cache.is_far(layer);
        let out = out.write_halves()?;
        self.with_halves(q, |halves| self.attend(layer, is_far, halves, &out))
    }

    fn swiglu(&self, gate: &mut Activation, up: &Activation) -> Result<()> {
        let width = gate.width;
        let (floats, halves) = gate.floats_to_halves()?;
        let rows = &self.kernels.rows;
        let up = up.floats()?;
        self.launch(|| rows.swiglu(&halves, floats, up, width, &self.stream))?;
        gate.form = Form::Halves;
        Ok(())
    }

    fn add(&self, x: &mut Activation, y: &Activation) -> Result<()> {
        let (x, y) = (x.floats_in_place()?, y.floats()?);
        self.launch(|| self.kernels.rows.add(&x, y, &self.stream))
    }

    fn copy_rows(&self, x: &Activation, rows: Range<usize>, out: &mut Activation) -> Result<()> {
        let range = rows.start * x.width..rows.end * x.width;
        match x.halves()? {
            Some(halves) => {
                let mut out = out.write_halves()?;
                out.copy_from(halves.slice(range)?, &self.stream)?;
            }
            None => {
                let mut out = out.write_floats()?;
                out.copy_from(x.floats()?.slice(range)?, &self.stream)?;
            }
        }
        Ok(())
    }

    fn start_profile(&self, timeline: bool) -> Result<()> {
        if timeline {
            self.kernels.decode.prepare_traced()?;
            self.timeline.start(&self.stream)?;
        }
        self.context.synchronize()?;
        Ok(self.context.start_profiler()?)
    }

    fn end_profile(&self) -> Result<Vec<trace::Span>> {
        let spans = self.timeline.finish(&self.stream)?;
        self.context.stop_profiler()?;
        Ok(spans)
    }

    fn read(&self, x: &Activation) -> Result<Vec<f32>> {
        let mut floats = vec![0.0; x.len()];
        match x.halves()? {
            Some(halves) => {
                let mut rounded = vec![bf16::ZERO; x.len()];
                halves.copy_to_host(&mut rounded, &self.stream)?;
                for (float, rounded) in floats.iter_mut().zip(rounded) {
                    *float = rounded.to_f32();
                }
            }
            None => x.floats()?.copy_to_host(&mut floats, &self.stream)?,
        }
        Ok(floats)
    }
}
