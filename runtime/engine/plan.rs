//! What a context takes of which memory, known before anything is computed.

use kcache_models::config::ModelConfig;
use serde::Serialize;

use crate::backend::Memory;
use crate::cache::{BLOCK, KvPolicy};
use crate::{Error, Result};

/// Bytes that the weights, sequences of `n_ctx` tokens and the work on them take.
///
/// All of it is where the model computes, but for [`MemoryPlan::host_values`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemoryPlan {
    /// Tokens of a sequence planned for.
    pub n_ctx: usize,
    /// Sequences planned for.
    pub sequences: usize,
    /// Weights.
    pub weights: u64,
    /// Whether those are mapped from their file, so that the system can drop
    /// and reread them; they are then not among [`MemoryPlan::resident`].
    pub weights_mapped: bool,
    /// K of full contexts.
    pub keys: u64,
    /// V of full contexts that stays beside K: of dense layers, and beside a
    /// device's K also sinks and windows of the others.
    pub values: u64,
    /// V of full contexts in the host's pinned memory, beside a device.
    pub host_values: u64,
    /// Hot rows, once all are taken, and their index.
    pub hot_rows: u64,
    /// Activations of a prefill chunk, V on its way to the host, and what a
    /// decode step works in.
    pub workspace: u64,
    /// Memory that is left where the model computes, if the system tells.
    pub available: Option<u64>,
    /// Memory that the host has left beside a device, if the system tells.
    pub host_available: Option<u64>,
}

impl MemoryPlan {
    /// Plans for `config` under `policy` in `memory`, with prompts read in
    /// chunks of `chunk` tokens.
    pub fn new(
        memory: &Memory,
        config: &ModelConfig,
        policy: &KvPolicy,
        n_ctx: usize,
        sequences: usize,
        chunk: usize,
    ) -> Self {
        let dense = (0..config.n_layers).filter(|&l| policy.is_dense(l)).count();
        let row = |layers: usize| product(&[layers, config.kv_dim(), memory.kv_element]);
        let rows = n_ctx.next_multiple_of(BLOCK);
        let store = |layers| row(layers).saturating_mul(rows as u64);
        let all = |bytes: u64| bytes.saturating_mul(sequences as u64);
        let (away, staged) = match &memory.host {
            Some(host) => (config.n_layers - dense, host.staged_layers),
            None => (0, 0),
        };
        let stages = store(staged.min(away));
        let apart = match policy.selects() {
            true => {
                let rows = policy.sinks.saturating_add(policy.window).min(n_ctx);
                row(away).saturating_mul(rows as u64)
            }
            false => 0,
        };
        let widths = 3 * config.hidden_size
            + 2 * (config.q_dim() + config.kv_dim() + config.intermediate_size);
        let activations = product(&[
            widths,
            chunk.min(n_ctx).max(sequences),
            memory.activation_element,
        ]);
        let step = all(memory.workspace_per_position.saturating_mul(n_ctx as u64));
        let logits = all(product(&[config.vocab_size, memory.activation_element]));
        let sparse = config.n_layers - dense;
        let hot_rows = match policy.selects() {
            true => {
                let rows = policy.hot_rows.min(n_ctx);
                let index = memory
                    .index_per_position
                    .saturating_mul(n_ctx)
                    .saturating_add(memory.index_per_row * rows);
                let index = product(&[sparse, config.n_kv_heads, index]);
                row(sparse)
                    .saturating_mul(rows as u64)
                    .saturating_add(index)
            }
            false => 0,
        };
        Self {
            n_ctx,
            sequences,
            weights: memory.weights,
            weights_mapped: memory.weights_mapped,
            keys: all(store(config.n_layers)),
            values: all(store(config.n_layers - away).saturating_add(apart)),
            host_values: all(store(away)),
            hot_rows: all(hot_rows),
            workspace: [activations, step, logits, stages]
                .into_iter()
                .fold(0, u64::saturating_add),
            available: memory.available,
            host_available: memory.host.as_ref().and_then(|host| host.available),
        }
    }

    /// Bytes where the model computes that cannot be dropped under pressure.
    pub fn resident(&self) -> u64 {
        let weights = match self.weights_mapped {
            true => 0,
            false => self.weights,
        };
        [
            weights,
            self.keys,
            self.values,
            self.hot_rows,
            self.workspace,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }

    /// # Errors
    /// [`Error::OutOfMemory`] if a full context needs more than is available.
    pub fn check(&self) -> Result<()> {
        if self.available.is_some_and(|a| self.resident() > a) {
            let weights = match self.weights_mapped {
                true => String::new(),
                false => format!("weights {}, ", self.weights),
            };
            return Err(Error::OutOfMemory {
                what: format!(
                    "{} ({weights}K {}, V {}, hot rows {}, workspace {} bytes)",
                    self.contexts(),
                    self.keys,
                    self.values,
                    self.hot_rows,
                    self.workspace
                ),
                bytes: self.resident(),
                available: self.available,
            });
        }
        if self.host_available.is_some_and(|a| self.host_values > a) {
            return Err(Error::OutOfMemory {
                what: format!("V of {} on the host", self.contexts()),
                bytes: self.host_values,
                available: self.host_available,
            });
        }
        Ok(())
    }

    fn contexts(&self) -> String {
        match self.sequences {
            1 => format!("a context of {} tokens", self.n_ctx),
            n => format!("{n} contexts of {} tokens", self.n_ctx),
        }
    }
}

fn product(factors: &[usize]) -> u64 {
    factors
        .iter()
        .fold(1, |n: u64, &f| n.saturating_mul(f as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::HostMemory;
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

    /// One memory, as on the CPU.
    fn one(available: u64) -> Memory {
        Memory {
            weights: 16 << 30,
            weights_mapped: true,
            kv_element: 4,
            index_per_position: 4,
            index_per_row: 12,
            activation_element: 4,
            workspace_per_position: 0,
            available: Some(available),
            host: None,
        }
    }

    /// A device's memory, and the host's.
    fn two(available: u64, host: u64) -> Memory {
        Memory {
            weights_mapped: false,
            kv_element: 2,
            index_per_position: 2,
            index_per_row: 6,
            host: Some(HostMemory {
                staged_layers: 2,
                available: Some(host),
            }),
            ..one(available)
        }
    }

    #[test]
    fn a_policy_of_any_numbers_is_planned() {
        let most = usize::MAX;
        let policy = KvPolicy {
            selection: crate::cache::Selection::TopN { n: most },
            sinks: most,
            window: most,
            hot_rows: most,
            dense_layers: 0,
            ..KvPolicy::kcache()
        };
        let plan = MemoryPlan::new(&two(1 << 40, 1 << 40), &config(), &policy, 8192, 1, 512);
        let row = 1024 * 2;
        // No more rows are near or hot than there are positions.
        assert_eq!(plan.values, 32 * 8192 * row);
        assert_eq!(plan.hot_rows, 32 * 8192 * row + 32 * 8 * 8192 * (2 + 6));
    }

    #[test]
    fn sizes_follow_the_geometry() {
        let plan = MemoryPlan::new(&one(1 << 40), &config(), &KvPolicy::kcache(), 8192, 1, 512);
        assert_eq!(plan.keys, 8192 * 32 * 1024 * 4);
        assert_eq!((plan.values, plan.host_values), (plan.keys, 0));
        assert_eq!(
            plan.hot_rows,
            30 * 1024 * 4 * 512 + 30 * 8 * (8192 * 4 + 512 * 12)
        );
        let full = MemoryPlan::new(&one(1 << 40), &config(), &KvPolicy::full(), 8192, 1, 512);
        assert_eq!(full.hot_rows, 0);
    }

    #[test]
    fn several_sequences_take_several_times_as_much() {
        for memory in [one(1 << 40), two(1 << 40, 1 << 40)] {
            let plan = |n| MemoryPlan::new(&memory, &config(), &KvPolicy::kcache(), 8192, n, 512);
            let kv = |plan: &MemoryPlan| {
                let MemoryPlan { keys, values, .. } = *plan;
                [keys, values, plan.host_values, plan.hot_rows]
            };
            let (alone, four) = (plan(1), plan(4));
            assert_eq!(kv(&alone).map(|bytes| 4 * bytes), kv(&four));
            assert!(four.workspace < 2 * alone.workspace);
        }
        let text = MemoryPlan::new(&one(1000), &config(), &KvPolicy::full(), 4096, 4, 512);
        let text = text.check().unwrap_err().to_string();
        assert!(text.contains("4 contexts of 4096 tokens"), "{text}");
    }

    #[test]
    fn beside_a_device_v_of_sparse_layers_is_on_the_host() {
        let memory = two(1 << 40, 1 << 40);
        let plan = MemoryPlan::new(&memory, &config(), &KvPolicy::kcache(), 8192, 1, 512);
        let layer = 8192 * 1024 * 2;
        assert_eq!(plan.keys, 32 * layer);
        let near = 2 * layer + 30 * (4 + 64) * 1024 * 2;
        assert_eq!((plan.values, plan.host_values), (near, 30 * layer));
        assert!(plan.resident() > 16 << 30, "weights are no file's");
        assert!(plan.workspace > 2 * layer);
        let full = MemoryPlan::new(&memory, &config(), &KvPolicy::full(), 8192, 1, 512);
        assert_eq!((full.values, full.host_values), (32 * layer, 0));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_both_sizes() {
        let plan = |memory| {
            let plan = MemoryPlan::new(&memory, &config(), &KvPolicy::kcache(), 4096, 1, 512);
            plan.check().unwrap_err().to_string()
        };
        for memory in [one(1000), two(1000, 1 << 40), two(1 << 40, 1000)] {
            let text = plan(memory);
            assert!(
                text.contains("4096 tokens") && text.contains("1000 are available"),
                "{text}"
            );
        }
        assert!(plan(two(1000, 1 << 40)).contains("weights 17179869184"));
        assert!(plan(two(1 << 40, 1000)).contains("on the host"));
    }
}
