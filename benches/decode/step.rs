//! The step that is timed, put together from the backend's operations.

use std::sync::Arc;

use kcache::Result;
use kcache::backend::cuda::{Activation, Cuda, CudaKvCache, Matrix, RopeTable, StepMemo};
use kcache::backend::{Backend, Heads, Norm, Projection, Rotation, SequenceCache};
use kcache::cache::KvCounters;
use kcache::driver::DeviceBuffer;
use kcache::models::config::ModelConfig;
use kcache::synthetic::{Pool, layer_shapes};
use kcache::trace::{Recording, Span};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::Args;
use crate::batch::Fitting;
use crate::queries::queries;

/// Different rows of K and of V; positions make more of those of K.
const ROWS: usize = 8192;

/// Rows that are appended at once.
pub const CHUNK: usize = 4096;

/// Weights of a layer: Q, K, V, output, gate, up, down.
type Layer = [Matrix; 7];

/// What is appended of a step's projections, by the model's angles.
macro_rules! heads {
    ($work:expr, $positions:expr) => {{
        let rotation = Rotation {
            rope: &$work.rope,
            positions: $positions,
        };
        let heads = Heads {
            q: &mut $work.projected,
            k: &mut $work.k,
            v: &$work.v,
        };
        (rotation, heads)
    }};
}

/// Caches that are full, and what a step computes with.
pub struct Bench<'a> {
    pub config: ModelConfig,
    pub caches: Vec<CudaKvCache>,
    backend: &'a Cuda,
    work: Work,
    memo: StepMemo,
    step: usize,
    /// Positions of every cache.
    length: usize,
}

struct Work {
    rope: Arc<RopeTable>,
    norm: DeviceBuffer<f32>,
    queries: Matrix,
    /// New rows of K and V, where there are no weights to make them.
    rows: Matrix,
    layers: Vec<Layer>,
    head: Option<Matrix>,
    drawn: Activation,
    q: Activation,
    x: Activation,
    normed: Activation,
    projected: Activation,
    k: Activation,
    v: Activation,
    attended: Activation,
    gate: Activation,
    up: Activation,
    logits: Activation,
}

impl<'a> Bench<'a> {
    pub fn new(backend: &'a Cuda, args: &Args, fitting: &Fitting) -> Result<Self> {
        let config = args.geometry.config(args.layers, args.length);
        let pool = Pool::new(1, 1.0)?;
        let work = Work::new(backend, &config, &pool, args, fitting.batch)?;
        let cache = |_| {
            let mut cache = backend.kv_cache(&config, &fitting.policy, args.length)?;
            // Host memory is pinned faster in large pieces.
            backend.reserve(&mut cache, args.length)?;
            Ok(cache)
        };
        let caches = (0..fitting.batch).map(cache);
        let mut bench = Self {
            caches: caches.collect::<Result<_>>()?,
            config,
            backend,
            work,
            memo: StepMemo::default(),
            step: 0,
            length: args.length - args.all_steps(),
        };
        bench.fill(&pool)?;
        Ok(bench)
    }

    /// Appends random rows to every layer of every cache.
    fn fill(&mut self, pool: &Pool) -> Result<()> {
        let length = self.length;
        let Self {
            config,
            backend,
            work,
            ..
        } = self;
        let width = config.kv_dim();
        let keys = backend.matrix(&pool.shared(0, [ROWS, width])?)?;
        let values = backend.matrix(&pool.shared(1 << 20, [ROWS, width])?)?;
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for cache in &mut self.caches {
            for first in (0..length).step_by(CHUNK) {
                let positions: Vec<usize> = (first..length.min(first + CHUNK)).collect();
                let mut ids = || -> Vec<u32> {
                    let id = |_| rng.random_range(0..ROWS as u32);
                    positions.iter().map(id).collect()
                };
                backend.resize(&mut work.k, positions.len())?;
                backend.resize(&mut work.v, positions.len())?;
                backend.resize(&mut work.projected, positions.len())?;
                backend.embed(&keys, &ids(), &mut work.k)?;
                backend.embed(&values, &ids(), &mut work.v)?;
                // Nothing reads these queries.
                let first = vec![0; positions.len()];
                backend.embed(&work.queries, &first, &mut work.projected)?;
                for layer in 0..config.n_layers {
                    let (rotation, heads) = heads!(work, &positions);
                    backend.append(cache, layer, heads, rotation)?;
                }
            }
        }
        Ok(())
    }

    /// One step, waited for.
    pub fn step(&mut self) -> Result<()> {
        let Self {
            config,
            backend,
            work,
            caches,
            memo,
            step,
            length,
        } = self;
        let batch = caches.len();
        let first = (*step * batch) as u32;
        let tokens: Vec<u32> = (first..first + batch as u32).collect();
        let positions = vec![*length; batch];
        let mut caches: Vec<&mut CudaKvCache> = caches.iter_mut().collect();
        let mut compute = |caches: &mut [&mut CudaKvCache]| {
            work.compute(backend, config, caches, &tokens, &positions)
        };
        backend.decode_step(memo, &mut caches, &tokens, &mut compute)?;
        *step += 1;
        *length += 1;
        backend.read(&work.attended)?;
        Ok(())
    }

    /// A step whose launches and blocks are noted.
    pub fn traced_step(&mut self) -> Result<Vec<Span>> {
        let _recording = Recording::start()?;
        self.backend.start_profile(true)?;
        let done = self.step();
        let spans = self.backend.end_profile()?;
        done.map(|()| spans)
    }

    /// What all sequences counted.
    pub fn counters(&self) -> KvCounters {
        let mut sum = KvCounters::default();
        for cache in &self.caches {
            let counters = cache.counters();
            sum.rows_needed += counters.rows_needed;
            sum.rows_fetched += counters.rows_fetched;
            sum.bytes_fetched += counters.bytes_fetched;
        }
        sum
    }
}

impl Work {
    fn new(
        backend: &Cuda,
        config: &ModelConfig,
        pool: &Pool,
        args: &Args,
        batch: usize,
    ) -> Result<Self> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let (q, kv) = (config.q_dim(), config.kv_dim());
        let layer = |l: usize| -> Result<Layer> {
            let mut all = Vec::new();
            for (i, shape) in layer_shapes(config).into_iter().enumerate() {
                let tensor = pool.shared((7 * l + i) * 999_424, shape)?;
                all.push(backend.matrix(&tensor)?);
            }
            Ok(all.try_into().unwrap_or_else(|_| unreachable!("seven")))
        };
        let layers = match args.attention {
            true => Vec::new(),
            false => (0..config.n_layers).map(layer).collect::<Result<_>>()?,
        };
        let head = [config.vocab_size, hidden];
        Ok(Self {
            rope: backend.rope(config)?,
            norm: backend.vector(&pool.shared(0, [1, q.max(hidden)])?)?,
            queries: queries(backend, [args.all_steps(), batch, q], args.rho)?,
            rows: backend.matrix(&pool.shared(1 << 21, [args.all_steps() * batch, kv])?)?,
            head: match args.attention {
                true => None,
                false => Some(backend.matrix(&pool.shared(0, head)?)?),
            },
            layers,
            drawn: backend.activation(q)?,
            q: backend.activation(q)?,
            x: backend.activation(hidden)?,
            normed: backend.activation(hidden)?,
            projected: backend.activation(q)?,
            k: backend.activation(kv)?,
            v: backend.activation(kv)?,
            attended: backend.activation(q)?,
            gate: backend.activation(inner)?,
            up: backend.activation(inner)?,
            logits: backend.activation(config.vocab_size)?,
        })
    }

    fn compute(
        &mut self,
        backend: &Cuda,
        config: &ModelConfig,
        caches: &mut [&mut CudaKvCache],
        tokens: &[u32],
        positions: &[usize],
    ) -> Result<()> {
        for x in [
            &mut self.drawn,
            &mut self.q,
            &mut self.x,
            &mut self.normed,
            &mut self.projected,
            &mut self.k,
            &mut self.v,
            &mut self.attended,
            &mut self.gate,
            &mut self.up,
            &mut self.logits,
        ] {
            backend.resize(x, tokens.len())?;
        }
        let eps = config.rms_norm_eps;
        // The queries of the step; the norm rounds them as a rotation would.
        backend.embed(&self.queries, tokens, &mut self.drawn)?;
        backend.rms_norm(&self.drawn, &self.norm, eps, &mut self.q)?;
        if self.layers.is_empty() {
            return self.attend_only(backend, config, caches, tokens, positions);
        }
        backend.embed(&self.queries, tokens, &mut self.x)?;
        for l in 0..self.layers.len() {
            let [wq, wk, wv, wo, gate, up, down] = &self.layers[l];
            let mut qkv = [
                project(wq, &mut self.projected),
                project(wk, &mut self.k),
                project(wv, &mut self.v),
            ];
            let norm = || Norm {
                weight: &self.norm,
                eps,
            };
            backend.norm_linear(&self.x, norm(), &mut self.normed, &mut qkv)?;
            let (rotation, heads) = heads!(self, positions);
            backend.append_each(caches, l, heads, rotation)?;
            // Of random weights, queries have nothing in common from step to step.
            backend.decode_attention(caches, l, &self.q, &mut self.attended)?;
            let out = project(wo, &mut self.normed);
            backend.add_linear(&mut self.x, &self.attended, out)?;
            let both = [project(gate, &mut self.gate), project(up, &mut self.up)];
            backend.norm_gated(&self.x, norm(), &mut self.normed, both)?;
            let out = project(down, &mut self.normed);
            backend.add_linear(&mut self.x, &self.gate, out)?;
        }
        let norm = Norm {
            weight: &self.norm,
            eps,
        };
        match &self.head {
            Some(weight) => {
                let head = project(weight, &mut self.logits);
                backend.norm_linear(&self.x, norm, &mut self.normed, &mut [head])
            }
            None => Ok(()),
        }
    }

    fn attend_only(
        &mut self,
        backend: &Cuda,
        config: &ModelConfig,
        caches: &mut [&mut CudaKvCache],
        tokens: &[u32],
        positions: &[usize],
    ) -> Result<()> {
        for out in [&mut self.k, &mut self.v] {
            backend.embed(&self.rows, tokens, out)?;
        }
        backend.embed(&self.queries, tokens, &mut self.projected)?;
        for layer in 0..config.n_layers {
            let (rotation, heads) = heads!(self, positions);
            backend.append_each(caches, layer, heads, rotation)?;
            backend.decode_attention(caches, layer, &self.q, &mut self.attended)?;
        }
        Ok(())
    }
}

fn project<'a>(weight: &'a Matrix, out: &'a mut Activation) -> Projection<'a, Cuda> {
    Projection {
        weight,
        bias: None,
        out,
    }
}
