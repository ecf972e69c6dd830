//! What a context takes of a machine's memory, and what fits at most.

use bytesize::ByteSize;
use clap::Args;
use clap::builder::FalseyValueParser;
use kcache::Error;
use kcache::backend::{AnyBackend, Backend, Machine};
use kcache::cache::KvPolicy;
use kcache::driver::HostLimits;
use kcache::engine::{ContextOptions, MemoryPlan, Planner};
use kcache::models::config::ModelConfig;
use kcache::models::weights::WeightSizes;
use serde::Serialize;

use crate::failure::Result;
use crate::model_args::{ComputeArgs, positive};
use crate::session;

/// Whether and what to plan for.
#[derive(Debug, Args)]
#[command(next_help_heading = "Memory plan")]
pub struct PlanArgs {
    /// Plan the memory of a context, and find the longest context and largest batch that fit; nothing is loaded
    #[arg(long, env = "KCACHE_PLAN", value_parser = FalseyValueParser::new())]
    plan: bool,
    /// Tokens of a sequence [default: what the model was made for]
    #[arg(
        short,
        long,
        value_name = "N",
        requires = "plan",
        env = "KCACHE_CTX_SIZE"
    )]
    ctx_size: Option<usize>,
    /// Sequences that are computed together [default: 1]
    #[arg(
        short,
        long,
        value_name = "N",
        requires = "plan",
        value_parser = positive,
        env = "KCACHE_BATCH"
    )]
    batch: Option<usize>,
    /// Instead of --device: a GPU with so much free memory, such as 80GiB, that need not be there
    #[arg(
        long,
        value_name = "SIZE",
        requires = "plan",
        env = "KCACHE_DEVICE_MEMORY"
    )]
    device_memory: Option<ByteSize>,
    /// A host with so much free memory; without --device-memory, one that computes itself
    #[arg(
        long,
        value_name = "SIZE",
        requires = "plan",
        env = "KCACHE_HOST_MEMORY"
    )]
    host_memory: Option<ByteSize>,
}

/// The plan under every policy in question.
#[derive(Serialize)]
pub struct PlanReport {
    pub machine: String,
    /// Why this is not the machine that one would expect.
    pub remark: Option<String>,
    pub policies: Vec<PolicyReport>,
}

/// The plan under one policy.
#[derive(Serialize)]
pub struct PolicyReport {
    pub kv: String,
    pub policy: KvPolicy,
    #[serde(flatten)]
    pub plan: MemoryPlan,
    /// Bytes where the model computes that cannot be dropped under pressure.
    pub resident: u64,
    pub fits: bool,
    /// Tokens, for as many sequences.
    pub longest_context: Option<usize>,
    /// Sequences, of as many tokens.
    pub largest_batch: Option<usize>,
}

impl PlanArgs {
    /// Whether a plan is asked for.
    pub fn wanted(&self) -> bool {
        self.plan
    }

    /// The machine that the sizes describe; `None` for this one.
    fn machine(&self) -> Option<Machine> {
        let host = self.host_memory.map(|size| size.as_u64());
        match (self.device_memory, host) {
            (Some(device), host) => Some(Machine::Gpu {
                device: device.as_u64(),
                host: host.unwrap_or_else(|| HostLimits::read().spare()),
            }),
            (None, Some(memory)) => Some(Machine::Cpu { memory }),
            (None, None) => None,
        }
    }
}

impl PlanReport {
    /// Under each of `policies`, for a model of `config` with such weights.
    ///
    /// # Errors
    /// For a context or policy out of range, a device that cannot be used, and a
    /// model that it cannot compute.
    pub fn new(
        args: &PlanArgs,
        compute: &ComputeArgs,
        policies: Vec<KvPolicy>,
        config: &ModelConfig,
        weights: &WeightSizes,
    ) -> Result<Self> {
        let chunk = compute.chunk;
        let (machine, remark, planner) = match args.machine() {
            Some(machine) => {
                let planner = Planner::on_machine(&machine, config, weights, chunk)?;
                (machine.to_string(), None, planner)
            }
            None => {
                let chosen = session::choose(compute, config)?;
                let (name, planner) = match &chosen.backend {
                    AnyBackend::Cpu(cpu) => {
                        (cpu.name(), Planner::new(cpu, config, weights, chunk)?)
                    }
                    AnyBackend::Cuda(cuda) => {
                        (cuda.name(), Planner::new(&**cuda, config, weights, chunk)?)
                    }
                };
                (name, chosen.remark, planner)
            }
        };
        let options = ContextOptions {
            n_ctx: Some(args.ctx_size.unwrap_or(config.max_position)),
            sequences: args.batch.unwrap_or(1),
            policy: KvPolicy::default(),
            chunk,
        };
        let report = |policy| PolicyReport::new(policy, &options, &planner);
        Ok(Self {
            machine,
            remark,
            policies: policies.into_iter().map(report).collect::<Result<_>>()?,
        })
    }
}

impl PolicyReport {
    fn new(policy: KvPolicy, options: &ContextOptions, planner: &Planner<'_>) -> Result<Self> {
        let options = ContextOptions {
            policy,
            ..options.clone()
        };
        let n_ctx = options.n_ctx.unwrap_or(planner.config().max_position);
        let fits = match options.plan_by(planner) {
            Ok(_) => true,
            // What is too large is what the plan is there to tell.
            Err(Error::OutOfMemory { .. }) => false,
            Err(error) => return Err(error.into()),
        };
        let ContextOptions {
            policy, sequences, ..
        } = options;
        let plan = planner.plan(&policy, n_ctx, sequences);
        Ok(Self {
            kv: policy.selection.to_string(),
            resident: plan.resident(),
            fits,
            longest_context: planner.longest(&policy, sequences),
            largest_batch: planner.most_sequences(&policy, n_ctx),
            policy,
            plan,
        })
    }
}
