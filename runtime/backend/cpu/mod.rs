//! Plain Rust on the processor: the default where there is no device, and the
//! oracle of every device kernel.
//!
//! Weights are used as stored, mapped from their file; activations, K and V
//! are `f32`, and so is every accumulation.

pub mod decode_attention;
pub mod dot;
pub mod embedding;
pub mod matmul;
pub mod mlp;
pub mod norm;
pub mod prefill_attention;
pub mod rope;
pub mod softmax;

mod bandwidth;
mod load;
mod memory;

use std::ops::Range;

use kcache_models::Tensor;
use kcache_models::config::ModelConfig;
use kcache_models::weights::WeightSizes;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::{Backend, Bandwidth, Heads, Memory, Projection, Rotation, SequenceCache};
use crate::cache::{KvCache, KvCounters, KvPolicy};
use crate::driver::HostLimits;
use crate::trace;
use crate::{Error, Result};
pub(super) use memory::{PREFILL_CHUNK, memory};
use rope::RopeTable;

/// More than any machine has processors: a mistaken number shall not fill the
/// system with threads.
const MAX_THREADS: usize = 1024;

/// The processor, through a pool of threads of its own.
pub struct Cpu {
    pool: ThreadPool,
}

impl Cpu {
    /// Starts `threads` threads, or one for each processor the system grants.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for 0 threads, more than 1,024, or more than
    /// the system allows.
    pub fn new(threads: Option<usize>) -> Result<Self> {
        if let Some(threads) = threads.filter(|n| !(1..=MAX_THREADS).contains(n)) {
            return Err(Error::InvalidArgument(format!(
                "the CPU backend takes 1 to {MAX_THREADS} threads, got {threads}"
            )));
        }
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads.unwrap_or(0))
            .thread_name(|i| format!("kcache-cpu-{i}"))
            .build()
            .map_err(|e| Error::InvalidArgument(format!("CPU threads could not start: {e}")))?;
        Ok(Self { pool })
    }
}

/// Rows of tokens, `[rows, width]`.
#[derive(Clone, Debug)]
pub struct Matrix {
    width: usize,
    data: Vec<f32>,
}

impl Matrix {
    fn rows(&self) -> usize {
        self.data.len() / self.width
    }
}

/// A projection of [`Cpu`] as [`matmul::matmul_many`] takes it.
fn product<'a>(projection: &'a mut Projection<'_, Cpu>) -> matmul::Product<'a> {
    matmul::Product {
        weight: projection.weight,
        bias: projection.bias.map(Vec::as_slice),
        out: &mut projection.out.data,
    }
}

impl Backend for Cpu {
    type Matrix = Tensor;
    type Vector = Vec<f32>;
    type Activation = Matrix;
    type Rope = RopeTable;
    type KvCache = KvCache;
    type StepMemo = ();

    fn prefill_chunk(&self) -> usize {
        PREFILL_CHUNK
    }

    fn name(&self) -> String {
        format!("cpu, {} threads", self.pool.current_num_threads())
    }

    /// Every model that opens has a shape that this backend computes.
    fn check(&self, _: &ModelConfig) -> Result<()> {
        Ok(())
    }

    /// Weights are used where they were opened, so loading them takes nothing.
    fn memory(&self, _: &ModelConfig, weights: &WeightSizes, _: bool) -> Result<Memory> {
        let taken = if weights.copied { weights.bytes } else { 0 };
        let available = HostLimits::read().left().map(|left| left + taken);
        Ok(memory(weights, available))
    }

    fn bandwidth(&self) -> Result<Bandwidth> {
        let near = bandwidth::read(&self.pool)?;
        Ok(Bandwidth { near, link: None })
    }

    fn scope<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.pool.install(work)
    }

    fn matrix(&self, tensor: &Tensor) -> Result<Tensor> {
        self.scope(|| load::check_finite(tensor))?;
        Ok(tensor.clone())
    }

    fn matrix_bytes(&self, matrix: &Tensor) -> u64 {
        matrix.bytes().len() as u64
    }

    fn vector(&self, tensor: &Tensor) -> Result<Vec<f32>> {
        self.scope(|| load::vector(tensor))
    }

    fn rope(&self, config: &ModelConfig) -> Result<RopeTable> {
        Ok(RopeTable::new(&config.rope, config.head_dim))
    }

    fn activation(&self, width: usize) -> Result<Matrix> {
        Ok(Matrix {
            width,
            data: Vec::new(),
        })
    }

    fn resize(&self, x: &mut Matrix, rows: usize) -> Result<()> {
        let floats = rows * x.width;
        let more = floats.saturating_sub(x.data.len());
        x.data
            .try_reserve_exact(more)
            .map_err(|_| Error::OutOfMemory {
                what: format!("activations of {rows} tokens"),
                bytes: (floats * size_of::<f32>()) as u64,
                available: None,
            })?;
        x.data.resize(floats, 0.0);
        Ok(())
    }

    fn kv_cache(&self, config: &ModelConfig, policy: &KvPolicy, _: usize) -> Result<KvCache> {
        Ok(KvCache::new(config, policy))
    }

    fn embed(&self, table: &Tensor, ids: &[u32], out: &mut Matrix) -> Result<()> {
        embedding::lookup(table, ids, &mut out.data);
        Ok(())
    }

    fn rms_norm(&self, x: &Matrix, weight: &Vec<f32>, eps: f32, out: &mut Matrix) -> Result<()> {
        norm::rms_norm(&x.data, weight, eps, &mut out.data);
        Ok(())
    }

    fn linear(&self, x: &Matrix, projections: &mut [Projection<'_, Self>]) -> Result<()> {
        let mut products: Vec<_> = projections.iter_mut().map(product).collect();
        matmul::matmul_many(&x.data, x.rows(), &mut products);
        Ok(())
    }

    fn append(
        &self,
        cache: &mut KvCache,
        layer: usize,
        heads: Heads<'_, Self>,
        rotation: Rotation<'_, Self>,
    ) -> Result<()> {
        rotate(&mut [heads.q, heads.k], rotation);
        let _range = trace::range(trace::Range::Push);
        cache.append(layer, &heads.k.data, &heads.v.data)
    }

    fn decode_step(
        &self,
        _: &mut (),
        caches: &mut [&mut KvCache],
        _: &[u32],
        work: &mut dyn FnMut(&mut [&mut KvCache]) -> Result<()>,
    ) -> Result<()> {
        work(caches)
    }

    fn append_each(
        &self,
        caches: &mut [&mut KvCache],
        layer: usize,
        heads: Heads<'_, Self>,
        rotation: Rotation<'_, Self>,
    ) -> Result<()> {
        rotate(&mut [heads.q, heads.k], rotation);
        let _range = trace::range(trace::Range::Push);
        let (k, v) = (heads.k, heads.v);
        let rows = k.data.chunks(k.width).zip(v.data.chunks(v.width));
        for (cache, (k, v)) in caches.iter_mut().zip(rows) {
            cache.append(layer, k, v)?;
        }
        Ok(())
    }

    fn prefill_attention(
        &self,
        cache: &KvCache,
        layer: usize,
        q: &Matrix,
        out: &mut Matrix,
    ) -> Result<()> {
        let _range = trace::range(trace::Range::Attention);
        let (keys, values) = cache.layer(layer);
        prefill_attention::prefill_attention(keys, &values.rows, &q.data, q.rows(), &mut out.data);
        Ok(())
    }

    fn decode_attention(
        &self,
        caches: &mut [&mut KvCache],
        layer: usize,
        q: &Matrix,
        out: &mut Matrix,
    ) -> Result<()> {
        let _range = trace::range(trace::Range::Attention);
        caches
            .par_iter_mut()
            .zip(q.data.par_chunks(q.width))
            .zip(out.data.par_chunks_mut(q.width))
            .for_each(|((cache, q), out)| {
                decode_attention::decode_attention(cache, layer, q, out);
            });
        Ok(())
    }

    fn swiglu(&self, gate: &mut Matrix, up: &Matrix) -> Result<()> {
        mlp::swiglu(&mut gate.data, &up.data);
        Ok(())
    }

    fn add(&self, x: &mut Matrix, y: &Matrix) -> Result<()> {
        for (x, y) in x.data.iter_mut().zip(&y.data) {
            *x += y;
        }
        Ok(())
    }

    fn copy_rows(&self, x: &Matrix, rows: Range<usize>, out: &mut Matrix) -> Result<()> {
        out.data
            .copy_from_slice(&x.data[rows.start * x.width..rows.end * x.width]);
        Ok(())
    }

    fn read(&self, x: &Matrix) -> Result<Vec<f32>> {
        Ok(x.data.clone())
    }
}

fn rotate(rows: &mut [&mut Matrix], rotation: Rotation<'_, Cpu>) {
    for x in rows {
        rope::rotate(&mut x.data, rotation.positions, rotation.rope);
    }
}

impl SequenceCache for KvCache {
    fn truncate(&mut self, len: usize) {
        KvCache::truncate(self, len);
    }

    fn counters(&self) -> KvCounters {
        KvCache::counters(self)
    }

    fn layer_counters(&self) -> Vec<KvCounters> {
        KvCache::layer_counters(self)
    }

    fn bytes(&self) -> [usize; 3] {
        KvCache::bytes(self)
    }
}
