//! The contract between the engine and the memory it computes in.

pub mod cpu;
pub mod cuda;

mod bandwidth;
mod choice;
mod machine;
mod memory;

use std::ops::Range;

use kcache_models::Tensor;
use kcache_models::config::ModelConfig;
use kcache_models::weights::{Linear, WeightSizes};

use crate::Result;
use crate::cache::{KvCounters, KvPolicy};
use crate::trace::Span;

pub use bandwidth::Bandwidth;
pub use choice::{AnyBackend, Chosen};
pub use machine::Machine;
pub use memory::{HostMemory, Memory};

/// Tensor operations of a decoder, and the memory that they work in.
///
/// Activations are matrices whose rows are tokens. Shapes are the engine's
/// duty: it derives all of them from one checked [`ModelConfig`]. An error
/// leaves outputs unspecified and inputs as they were.
pub trait Backend: Send + Sync + 'static {
    /// A weight matrix `[out, in]`.
    type Matrix: Send + Sync;
    /// A norm's weight or a bias.
    type Vector: Send + Sync;
    /// `[tokens, width]`.
    type Activation: Send + Sync;
    /// Cosines and sines of a model's rotary embedding.
    type Rope: Send + Sync;
    /// K and V of one sequence, in all layers.
    type KvCache: SequenceCache;
    /// What a decode step leaves for the next one of the same workspace.
    type StepMemo: Default + Send + Sync;

    /// What a user calls this backend, with the device it runs on.
    fn name(&self) -> String;

    /// Prompt tokens to compute at once, where the user does not say.
    fn prefill_chunk(&self) -> usize;

    /// Refuses a model whose shape this backend cannot compute.
    fn check(&self, config: &ModelConfig) -> Result<()>;

    /// What a model of `config` with such weights takes of this backend's
    /// memories, and what those have for them and everything else. `loaded`:
    /// whether the weights are among what is taken already.
    fn memory(&self, config: &ModelConfig, weights: &WeightSizes, loaded: bool) -> Result<Memory>;

    /// Measures how fast this backend's memories can be read at all.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`]; [`crate::Error::Device`].
    fn bandwidth(&self) -> Result<Bandwidth>;

    /// Runs `work`, which may call the other methods, with the backend's
    /// threads or device context current.
    fn scope<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R;

    /// Brings a matrix to where it is computed with.
    fn matrix(&self, tensor: &Tensor) -> Result<Self::Matrix>;
    /// Bytes that a decode step reads of a matrix.
    fn matrix_bytes(&self, matrix: &Self::Matrix) -> u64;
    /// Brings a vector to where it is computed with.
    fn vector(&self, tensor: &Tensor) -> Result<Self::Vector>;
    /// Prepares the rotary embedding of `config`.
    fn rope(&self, config: &ModelConfig) -> Result<Self::Rope>;
    /// An activation of `width` columns and no rows yet.
    fn activation(&self, width: usize) -> Result<Self::Activation>;
    /// Makes room for `rows` rows; their content is unspecified.
    fn resize(&self, x: &mut Self::Activation, rows: usize) -> Result<()>;
    /// An empty cache that will hold at most `n_ctx` positions.
    fn kv_cache(
        &self,
        config: &ModelConfig,
        policy: &KvPolicy,
        n_ctx: usize,
    ) -> Result<Self::KvCache>;

    /// `out[i] = table[ids[i]]`.
    fn embed(&self, table: &Self::Matrix, ids: &[u32], out: &mut Self::Activation) -> Result<()>;

    /// `out = x / sqrt(mean(x²) + eps) * weight`, row by row.
    fn rms_norm(
        &self,
        x: &Self::Activation,
        weight: &Self::Vector,
        eps: f32,
        out: &mut Self::Activation,
    ) -> Result<()>;

    /// `out = x Wᵀ + b` for each of `projections`, in one go.
    fn linear(&self, x: &Self::Activation, projections: &mut [Projection<'_, Self>]) -> Result<()>;

    /// As [`Backend::linear`], of `x` normalised, for which `normed` has room. What `normed` holds
    /// afterwards is unspecified.
    fn norm_linear(
        &self,
        x: &Self::Activation,
        norm: Norm<'_, Self>,
        normed: &mut Self::Activation,
        projections: &mut [Projection<'_, Self>],
    ) -> Result<()> {
        self.rms_norm(x, norm.weight, norm.eps, normed)?;
        self.linear(normed, projections)
    }

    /// `residual += x Wᵀ + b`. What the projection's `out` holds afterwards is unspecified.
    fn add_linear(
        &self,
        residual: &mut Self::Activation,
        x: &Self::Activation,
        mut projection: Projection<'_, Self>,
    ) -> Result<()> {
        self.linear(x, std::slice::from_mut(&mut projection))?;
        self.add(residual, projection.out)
    }

    /// `gate.out = silu(x Wgᵀ) * (x Wuᵀ)` of `x` normalised, for which `normed` has room. What
    /// `normed` and `up.out` hold afterwards is unspecified.
    fn norm_gated(
        &self,
        x: &Self::Activation,
        norm: Norm<'_, Self>,
        normed: &mut Self::Activation,
        [gate, up]: [Projection<'_, Self>; 2],
    ) -> Result<()> {
        let mut both = [gate, up];
        self.norm_linear(x, norm, normed, &mut both)?;
        let [gate, up] = both;
        self.swiglu(gate.out, up.out)
    }

    /// Rotates every head of row `i` of Q and K to position `positions[i]`, and appends K and V to
    /// `layer` of `cache`, whose next positions those are.
    fn append(
        &self,
        cache: &mut Self::KvCache,
        layer: usize,
        heads: Heads<'_, Self>,
        rotation: Rotation<'_, Self>,
    ) -> Result<()>;

    /// Runs `work`, one decode step of `caches`, each of which grows by the token
    /// beside it. Only inside may [`Backend::append_each`] and
    /// [`Backend::decode_attention`] be called. A step that does what the last one
    /// did may be replayed instead of running `work`: its activations are those
    /// that `work` last used with this `memo`.
    fn decode_step(
        &self,
        memo: &mut Self::StepMemo,
        caches: &mut [&mut Self::KvCache],
        tokens: &[u32],
        work: &mut dyn FnMut(&mut [&mut Self::KvCache]) -> Result<()>,
    ) -> Result<()>;

    /// As [`Backend::append`], row `i` to `layer` of `caches[i]`.
    fn append_each(
        &self,
        caches: &mut [&mut Self::KvCache],
        layer: usize,
        heads: Heads<'_, Self>,
        rotation: Rotation<'_, Self>,
    ) -> Result<()>;

    /// Dense causal attention of the newest `q.rows` positions of `cache`,
    /// whose K and V have been appended, over all positions.
    fn prefill_attention(
        &self,
        cache: &Self::KvCache,
        layer: usize,
        q: &Self::Activation,
        out: &mut Self::Activation,
    ) -> Result<()>;

    /// Attention of row `i` of `q`, the newest position of `caches[i]`, over
    /// that cache by its policy.
    fn decode_attention(
        &self,
        caches: &mut [&mut Self::KvCache],
        layer: usize,
        q: &Self::Activation,
        out: &mut Self::Activation,
    ) -> Result<()>;

    /// `gate = silu(gate) * up`.
    fn swiglu(&self, gate: &mut Self::Activation, up: &Self::Activation) -> Result<()>;

    /// `x += y`.
    fn add(&self, x: &mut Self::Activation, y: &Self::Activation) -> Result<()>;

    /// `out = x[rows]`.
    fn copy_rows(
        &self,
        x: &Self::Activation,
        rows: Range<usize>,
        out: &mut Self::Activation,
    ) -> Result<()>;

    /// Begins the part of a run that a profiler should see. With `timeline`, the
    /// device's times are noted too, for which steps run without a graph.
    ///
    /// A processor has nothing to tell: its times are those of [`crate::trace`].
    fn start_profile(&self, _timeline: bool) -> Result<()> {
        Ok(())
    }

    /// Ends that part; what the device's queues did meanwhile, if it was noted,
    /// counted from the start of the running [`crate::trace::Recording`].
    fn end_profile(&self) -> Result<Vec<Span>> {
        Ok(Vec::new())
    }

    /// Waits for all work on `x` and brings it to the host, row-major.
    fn read(&self, x: &Self::Activation) -> Result<Vec<f32>>;
}

/// One product of activations and weights, and where it goes.
pub struct Projection<'a, B: Backend + ?Sized> {
    /// `[out, in]`.
    pub weight: &'a B::Matrix,
    /// `[out]`.
    pub bias: Option<&'a B::Vector>,
    /// `[tokens, out]`.
    pub out: &'a mut B::Activation,
}

impl<'a, B: Backend + ?Sized> Projection<'a, B> {
    /// `linear`, written to `out`.
    pub fn new(linear: &'a Linear<B::Matrix, B::Vector>, out: &'a mut B::Activation) -> Self {
        Self {
            weight: &linear.weight,
            bias: linear.bias.as_ref(),
            out,
        }
    }
}

/// `x / sqrt(mean(x²) + eps) * weight`, row by row.
pub struct Norm<'a, B: Backend + ?Sized> {
    /// `[width]`.
    pub weight: &'a B::Vector,
    /// What keeps rows of zeros from growing.
    pub eps: f32,
}

/// What the projections to Q, K and V gave, each with one row for each token.
pub struct Heads<'a, B: Backend + ?Sized> {
    /// `[tokens, n_heads * head_dim]`.
    pub q: &'a mut B::Activation,
    /// `[tokens, n_kv_heads * head_dim]`; what it holds after an append is unspecified.
    pub k: &'a mut B::Activation,
    /// `[tokens, n_kv_heads * head_dim]`.
    pub v: &'a B::Activation,
}

/// Where tokens stand.
pub struct Rotation<'a, B: Backend + ?Sized> {
    /// The model's angles.
    pub rope: &'a B::Rope,
    /// Of each token.
    pub positions: &'a [usize],
}

/// What the engine asks of a cache without computing.
pub trait SequenceCache: Send + Sync {
    /// Forgets all positions from `len` on, also those of an unfinished step.
    fn truncate(&mut self, len: usize);
    /// Counts since the cache was made.
    fn counters(&self) -> KvCounters;
    /// The same for each layer; empty where layers are not told apart.
    fn layer_counters(&self) -> Vec<KvCounters> {
        Vec::new()
    }
    /// Bytes of K, of V, and of hot rows held.
    fn bytes(&self) -> [usize; 3];
}
