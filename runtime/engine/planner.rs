//! How much of a model fits which memory, before anything is loaded.

use kcache_models::config::ModelConfig;
use kcache_models::weights::WeightSizes;

use super::{MemoryPlan, Model};
use crate::Result;
use crate::backend::{Backend, Machine, Memory};
use crate::cache::{KvPolicy, Selection};

/// More sequences than any memory holds of a context worth having.
const MOST_SEQUENCES: usize = 1 << 20;

/// Plans for one model in given memories, under any policy.
#[derive(Clone, Debug)]
pub struct Planner<'a> {
    memory: Memory,
    config: &'a ModelConfig,
    chunk: usize,
}

impl<'a> Planner<'a> {
    /// For a model of `config` with such weights, which `backend` is to compute
    /// with what its memories have left; prompts are read in chunks of `chunk`
    /// tokens, or as suits the backend.
    ///
    /// # Errors
    /// As [`Backend::check`]; [`crate::Error::Device`].
    pub fn new<B: Backend>(
        backend: &B,
        config: &'a ModelConfig,
        weights: &WeightSizes,
        chunk: Option<usize>,
    ) -> Result<Self> {
        backend.check(config)?;
        Ok(Self {
            memory: backend.memory(config, weights, false)?,
            config,
            chunk: chunk.unwrap_or(backend.prefill_chunk()),
        })
    }

    /// As [`Planner::new`], for a machine that need not be there.
    ///
    /// # Errors
    /// As [`Machine::check`].
    pub fn on_machine(
        machine: &Machine,
        config: &'a ModelConfig,
        weights: &WeightSizes,
        chunk: Option<usize>,
    ) -> Result<Self> {
        machine.check(config)?;
        Ok(Self {
            memory: machine.memory(config, weights),
            config,
            chunk: chunk.unwrap_or(machine.prefill_chunk()),
        })
    }

    /// Beside the weights of a loaded model.
    ///
    /// # Errors
    /// [`crate::Error::Device`].
    pub fn loaded<B: Backend>(model: &'a Model<B>, chunk: Option<usize>) -> Result<Self> {
        Ok(Self {
            memory: model.memory()?,
            config: model.config(),
            chunk: chunk.unwrap_or(model.backend.prefill_chunk()),
        })
    }

    /// The model's configuration.
    pub fn config(&self) -> &'a ModelConfig {
        self.config
    }

    /// What `sequences` sequences of `n_ctx` tokens take, whether they fit or not.
    pub fn plan(&self, policy: &KvPolicy, n_ctx: usize, sequences: usize) -> MemoryPlan {
        let (memory, config) = (&self.memory, self.config);
        MemoryPlan::new(memory, config, policy, n_ctx, sequences, self.chunk)
    }

    /// The plan of the longest context, at most `n_ctx`, that leaves a little
    /// memory to others. One that does not fit has a single token.
    pub fn fit(&self, policy: &KvPolicy, n_ctx: usize, sequences: usize) -> MemoryPlan {
        let spared = self.sparing();
        let plan = |n_ctx| spared.plan(policy, n_ctx, sequences);
        plan(largest(n_ctx, |n| plan(n).check().is_ok()).unwrap_or(1))
    }

    /// The longest context of `sequences` sequences that fits, up to what the
    /// model was made for; `None` if none does.
    pub fn longest(&self, policy: &KvPolicy, sequences: usize) -> Option<usize> {
        let plan = self.fit(policy, self.config.max_position, sequences);
        plan.check().is_ok().then_some(plan.n_ctx)
    }

    /// The most sequences of `n_ctx` tokens that fit, leaving a little memory to
    /// others; `None` if not even one does.
    pub fn most_sequences(&self, policy: &KvPolicy, n_ctx: usize) -> Option<usize> {
        let spared = self.sparing();
        largest(MOST_SEQUENCES, |n| {
            spared.plan(policy, n_ctx, n).check().is_ok()
        })
    }

    /// As [`Planner::most_sequences`], where hot rows give way before a sequence
    /// does: down to twice what a step selects, with which it misses a quarter of
    /// them (docs/accuracy.md). Returns the policy with the hot rows that fit.
    pub fn fill(&self, policy: &KvPolicy, n_ctx: usize) -> Option<(usize, KvPolicy)> {
        let spared = self.sparing();
        let with = |hot_rows| KvPolicy {
            hot_rows,
            ..policy.clone()
        };
        let least = match policy.selection {
            Selection::TopN { n } | Selection::TopP { n_max: n, .. } => {
                policy.hot_rows.min(n.saturating_mul(2))
            }
            Selection::Full | Selection::FullOffload => 0,
        };
        let sequences = self.most_sequences(&with(least), n_ctx)?;
        let fits = |rows| {
            spared
                .plan(&with(least + rows), n_ctx, sequences)
                .check()
                .is_ok()
        };
        let more = largest(policy.hot_rows - least, fits).unwrap_or(0);
        Some((sequences, with(least + more)))
    }

    /// A sixteenth is left alone: other programs take memory between a plan and
    /// the allocations.
    fn sparing(&self) -> Self {
        let spared = |bytes: Option<u64>| bytes.map(|b| b - b / 16);
        let mut planner = self.clone();
        planner.memory.available = spared(planner.memory.available);
        if let Some(host) = &mut planner.memory.host {
            host.available = spared(host.available);
        }
        planner
    }
}

/// The largest number from 1 to `most` that `fits`, where smaller ones fit too.
fn largest(most: usize, fits: impl Fn(usize) -> bool) -> Option<usize> {
    if most > 0 && fits(most) {
        return Some(most);
    }
    let (mut good, mut bad) = (0, most);
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        if fits(middle) {
            good = middle;
        } else {
            bad = middle;
        }
    }
    (good > 0).then_some(good)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::{Geometry, weight_sizes};

    const GIB: u64 = 1 << 30;

    fn config(positions: usize) -> ModelConfig {
        Geometry::Llama3.config(None, positions)
    }

    fn gpu(config: &ModelConfig, device: u64, host: u64) -> Planner<'_> {
        let machine = Machine::Gpu { device, host };
        Planner::on_machine(&machine, config, &weight_sizes(config), None).unwrap()
    }

    #[test]
    fn the_largest_is_found_from_both_ends() {
        for most in [1, 2, 3, 100] {
            for limit in 0..=most {
                let expected = (limit > 0).then_some(limit);
                assert_eq!(largest(most, |n| n <= limit), expected, "{limit} of {most}");
            }
        }
    }

    /// Both bounds are sharp: what is found fits with a sixteenth to spare, and
    /// one more does not.
    #[test]
    fn what_fits_is_as_much_as_fits() {
        let config = config(1 << 20);
        let planner = gpu(&config, 80 * GIB, 256 * GIB);
        let spared = planner.sparing();
        let fits = |policy, n_ctx, n| spared.plan(policy, n_ctx, n).check().is_ok();
        for policy in [&KvPolicy::full(), &KvPolicy::kcache()] {
            let longest = planner.longest(policy, 1).unwrap();
            println!("{:?}: {longest} tokens", policy.selection);
            assert!(longest < 1 << 20 && fits(policy, longest, 1));
            assert!(!fits(policy, longest + 1, 1));
            assert_eq!(planner.fit(policy, 1 << 40, 1).n_ctx, longest);
            let most = planner.most_sequences(policy, 8192).unwrap();
            println!("{:?}: {most} sequences", policy.selection);
            assert!(fits(policy, 8192, most) && !fits(policy, 8192, most + 1));
        }
    }

    #[test]
    fn v_on_the_host_lets_more_in_until_the_host_is_full() {
        let config = config(1 << 20);
        let sequences = |host, policy| {
            gpu(&config, 80 * GIB, host)
                .most_sequences(&policy, 8192)
                .unwrap_or(0)
        };
        let full = sequences(0, KvPolicy::full());
        let kcache = sequences(1024 * GIB, KvPolicy::kcache());
        assert!(10 * kcache > 17 * full, "{kcache} {full}");
        assert_eq!(sequences(0, KvPolicy::kcache()), 0);
        let few = sequences(8 * GIB, KvPolicy::kcache());
        assert!(few > 0 && few < full, "{few} {full}");
    }

    /// An H200 beside 128 GiB: K alone lets nearly twice the tokens in, by what
    /// dense layers, windows, hot rows and their index leave of it.
    #[test]
    fn tokens_in_device_memory_nearly_double() {
        let sequences = 8;
        for geometry in [Geometry::Llama2, Geometry::Llama3] {
            let config = geometry.config(None, 1 << 24);
            let planner = gpu(&config, 139 * GIB, 128 * GIB);
            let tokens = |policy| planner.longest(&policy, sequences).unwrap() * sequences;
            let full = tokens(KvPolicy::full());
            for (dense_layers, expected) in [(0, 1.9), (1, 1.88), (2, 1.82)] {
                let kcache = tokens(KvPolicy {
                    dense_layers,
                    ..KvPolicy::kcache()
                });
                let ratio = kcache as f64 / full as f64;
                let name = geometry.name();
                println!("{name}, {dense_layers} dense: {kcache} of {full} tokens, {ratio:.3}");
                assert!(ratio >= expected && ratio < 2.0, "{name}: {ratio}");
            }
        }
    }

    /// Of LLaMA2-7B at 32K on an H200 beside 128 GiB: the host bounds the batch,
    /// and with less device memory hot rows give way before a sequence does.
    #[test]
    fn hot_rows_give_way_before_sequences() {
        let config = Geometry::Llama2.config(None, 32_768);
        let policy = KvPolicy {
            dense_layers: 0,
            ..KvPolicy::kcache()
        };
        let fill = |device: u64, hot_rows| {
            let policy = KvPolicy {
                hot_rows,
                ..policy.clone()
            };
            let filled = gpu(&config, device, 128 * GIB).fill(&policy, 32_768);
            filled.map(|(batch, policy)| (batch, policy.hot_rows))
        };
        let full = gpu(&config, 139 * GIB, 0).most_sequences(&KvPolicy::full(), 32_768);
        assert_eq!((full, fill(139 * GIB, 512)), (Some(7), Some((14, 512))));
        let (batch, rows) = fill(139 * GIB, 8192).unwrap();
        println!("{batch} sequences with {rows} hot rows");
        assert!(batch == 14 && (512..8192).contains(&rows));
        assert_eq!(fill(8 * GIB, 512), None);
    }

    #[test]
    fn weights_that_do_not_fit_leave_nothing() {
        let config = config(8192);
        let planner = gpu(&config, 8 * GIB, 64 * GIB);
        assert_eq!(planner.longest(&KvPolicy::kcache(), 1), None);
        assert_eq!(planner.most_sequences(&KvPolicy::kcache(), 64), None);
    }

    #[test]
    fn a_processor_maps_its_weights() {
        let config = config(8192);
        let weights = WeightSizes {
            copied: false,
            ..weight_sizes(&config)
        };
        let machine = Machine::Cpu { memory: 4 * GIB };
        let planner = Planner::on_machine(&machine, &config, &weights, None).unwrap();
        assert_eq!(planner.longest(&KvPolicy::full(), 1), Some(8192));
        assert!(planner.plan(&KvPolicy::full(), 8192, 1).weights_mapped);
    }

    #[test]
    fn a_model_that_no_kernel_fits_is_refused() {
        let config = ModelConfig {
            head_dim: 24,
            ..config(8192)
        };
        let machine = Machine::Gpu {
            device: GIB,
            host: GIB,
        };
        let error = Planner::on_machine(&machine, &config, &weight_sizes(&config), None);
        assert!(error.unwrap_err().to_string().contains("24"));
    }
}
