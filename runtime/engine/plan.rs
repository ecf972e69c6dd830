//! What a context takes of which memory, known before anything is computed.

use kcache_models::config::ModelConfig;
use serde::Serialize;
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

use crate::cache::{BLOCK, KvPolicy};
use crate::{Error, Result};

/// Bytes that one sequence of `n_ctx` tokens and the work on it take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemoryPlan {
    /// Tokens planned for.
    pub n_ctx: usize,
    /// Weights as stored; mapped from their file, so the system can drop and reread them.
    pub weights: u64,
    /// K of a full context.
    pub keys: u64,
    /// V of a full context.
    pub values: u64,
    /// Hot rows, once all are taken.
    pub hot_rows: u64,
    /// Activations of a prefill chunk.
    pub workspace: u64,
    /// Memory that the machine, or the control group, has left, if the system tells.
    pub available: Option<u64>,
}

impl MemoryPlan {
    /// Plans for `config` under `policy`, with prompts read in chunks of `chunk` tokens.
    pub fn new(
        config: &ModelConfig,
        weights: u64,
        policy: &KvPolicy,
        n_ctx: usize,
        chunk: usize,
    ) -> Self {
        Self::within(available(), config, weights, policy, n_ctx, chunk)
    }

    fn within(
        available: Option<u64>,
        config: &ModelConfig,
        weights: u64,
        policy: &KvPolicy,
        n_ctx: usize,
        chunk: usize,
    ) -> Self {
        let row = bytes(&[config.n_layers, config.kv_dim()]);
        let store = row.saturating_mul(n_ctx.next_multiple_of(BLOCK) as u64);
        let dense = (0..config.n_layers).filter(|&l| policy.is_dense(l)).count();
        let hot = bytes(&[
            config.n_layers - dense,
            config.kv_dim(),
            policy.hot_rows.min(n_ctx),
        ]);
        let widths = 3 * config.hidden_size
            + 2 * (config.q_dim() + config.kv_dim() + config.intermediate_size);
        Self {
            n_ctx,
            weights,
            keys: store,
            values: store,
            hot_rows: hot,
            workspace: bytes(&[widths, chunk.min(n_ctx)]) + bytes(&[config.vocab_size]),
            available,
        }
    }

    /// The longest context, at most `n_ctx`, that leaves a little memory to others.
    pub fn fit(
        config: &ModelConfig,
        weights: u64,
        policy: &KvPolicy,
        n_ctx: usize,
        chunk: usize,
    ) -> Self {
        // Asked once, and a sixteenth left alone: other programs take memory
        // between this plan and the allocations.
        let available = available().map(|a| a - a / 16);
        let plan = |n_ctx| Self::within(available, config, weights, policy, n_ctx, chunk);
        let whole = plan(n_ctx);
        if whole.check().is_ok() {
            return whole;
        }
        let (mut fits, mut fails) = (1, n_ctx);
        while fails - fits > 1 {
            let middle = fits + (fails - fits) / 2;
            match plan(middle).check() {
                Ok(()) => fits = middle,
                Err(_) => fails = middle,
            }
        }
        plan(fits)
    }

    /// Bytes that cannot be dropped under pressure.
    pub fn resident(&self) -> u64 {
        [self.keys, self.values, self.hot_rows, self.workspace]
            .into_iter()
            .fold(0, u64::saturating_add)
    }

    /// # Errors
    /// [`Error::OutOfMemory`] if a full context needs more than is available.
    pub fn check(&self) -> Result<()> {
        if self.available.is_none_or(|a| self.resident() <= a) {
            return Ok(());
        }
        Err(Error::OutOfMemory {
            what: format!(
                "a context of {} tokens (K {}, V {}, hot rows {}, workspace {} bytes)",
                self.n_ctx, self.keys, self.values, self.hot_rows, self.workspace
            ),
            bytes: self.resident(),
            available: self.available,
        })
    }
}

/// Size of that many floats.
fn bytes(dimensions: &[usize]) -> u64 {
    dimensions
        .iter()
        .fold(size_of::<f32>() as u64, |n, &d| n.saturating_mul(d as u64))
}

fn available() -> Option<u64> {
    let memory = MemoryRefreshKind::nothing().with_ram();
    let system = System::new_with_specifics(RefreshKind::nothing().with_memory(memory)).ok()?;
    let host = system.available_memory();
    let group = system.cgroup_limits().map(|group| group.free_memory);
    Some(group.map_or(host, |group| group.min(host)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kcache_models::arch::Architecture;
    use kcache_models::config::{BiasConfig, RopeConfig, RopeScaling, RopeStyle};

    fn config() -> ModelConfig {
        ModelConfig {
            architecture: Architecture::Llama,
            n_layers: 32,
            hidden_size: 4096,
            intermediate_size: 14336,
            n_heads: 32,
            n_kv_heads: 8,
            head_dim: 128,
            vocab_size: 128_256,
            max_position: 131_072,
            rms_norm_eps: 1e-5,
            rope: RopeConfig {
                theta: 5e5,
                style: RopeStyle::HalfSplit,
                scaling: RopeScaling::None,
            },
            tie_word_embeddings: false,
            bias: BiasConfig::default(),
        }
    }

    #[test]
    fn sizes_follow_the_geometry() {
        let plan = MemoryPlan::new(&config(), 16 << 30, &KvPolicy::kcache(), 8192, 512);
        assert_eq!(plan.keys, 8192 * 32 * 1024 * 4);
        assert_eq!(plan.hot_rows, 30 * 1024 * 4 * 512);
        let full = MemoryPlan::new(&config(), 16 << 30, &KvPolicy::full(), 8192, 512);
        assert_eq!(full.hot_rows, 0);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_both_sizes() {
        let mut plan = MemoryPlan::new(&config(), 0, &KvPolicy::full(), 4096, 512);
        plan.available = Some(1000);
        let text = plan.check().unwrap_err().to_string();
        assert!(
            text.contains("4096 tokens") && text.contains("1000 are available"),
            "{text}"
        );
    }

    #[test]
    fn an_absurd_context_is_cut_to_what_fits() {
        let plan = MemoryPlan::fit(&config(), 0, &KvPolicy::full(), 1 << 40, 512);
        println!("{plan:?}");
        assert!(plan.available.is_some() && plan.check().is_ok());
        assert!(plan.n_ctx < 1 << 40 && plan.n_ctx > 1);
    }
}
