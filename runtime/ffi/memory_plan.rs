//! What a context takes of which memory.

use super::boundary;
use super::context_params::{kcache_context_params, kcache_kv_policy};
use super::engine::Planned;
use super::failure::Result;
use super::model::kcache_model;
use super::status::kcache_status;
use super::versioned::{self, Versioned};
use crate::cache::Selection;
use crate::engine::MemoryPlan;

/// Stands for a number of bytes that the system does not tell.
pub const KCACHE_UNKNOWN: u64 = u64::MAX;

/// What the weights, one sequence of n_ctx tokens and the work on it take, in
/// bytes. All of it is where the model computes, but for host_values.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct kcache_memory_plan {
    /// sizeof(kcache_memory_plan), set by the caller
    pub struct_size: usize,
    /// Tokens planned for.
    pub n_ctx: usize,
    /// The kcache_kv_policy that was chosen, never AUTO.
    pub kv_policy: u32,
    /// Whether the weights are mapped from their files, so that the system can
    /// drop and reread them: 0 or 1.
    pub weights_mapped: u32,
    /// Weights.
    pub weights: u64,
    /// K of a full context.
    pub keys: u64,
    /// V of a full context that stays beside K.
    pub values: u64,
    /// V of a full context in pinned memory of the host.
    pub host_values: u64,
    /// Rows of V kept beside K after they were fetched, once all are taken.
    pub hot_rows: u64,
    /// Activations, V on its way to the host, and what a decode step works in.
    pub workspace: u64,
    /// What is left where the model computes, or KCACHE_UNKNOWN.
    pub available: u64,
    /// What is left of the host beside a device, or KCACHE_UNKNOWN.
    pub host_available: u64,
}

// SAFETY: numbers, and two of 32 bits in a row.
unsafe impl Versioned for kcache_memory_plan {
    const NAME: &'static str = "kcache_memory_plan";
    const FIRST_SIZE: usize = size_of::<Self>();

    fn initial() -> Self {
        Self::default()
    }
}

impl kcache_memory_plan {
    /// `plan` under a policy of `selection`.
    pub fn new(plan: &MemoryPlan, selection: Selection) -> Self {
        let kv_policy = match selection {
            Selection::Full => kcache_kv_policy::Full,
            Selection::FullOffload => kcache_kv_policy::FullOffload,
            Selection::TopN { .. } | Selection::TopP { .. } => kcache_kv_policy::Kcache,
        };
        Self {
            struct_size: 0,
            n_ctx: plan.n_ctx,
            kv_policy: kv_policy as u32,
            weights_mapped: plan.weights_mapped.into(),
            weights: plan.weights,
            keys: plan.keys,
            values: plan.values,
            host_values: plan.host_values,
            hot_rows: plan.hot_rows,
            workspace: plan.workspace,
            available: plan.available.unwrap_or(KCACHE_UNKNOWN),
            host_available: plan.host_available.unwrap_or(KCACHE_UNKNOWN),
        }
    }
}

/// What a context of `params` would take, without making it or loading the
/// model. NULL for `params` stands for the defaults. The caller has set the
/// struct_size of `plan`.
///
/// KCACHE_STATUS_OUT_OF_MEMORY with the sizes if it would not fit,
/// KCACHE_STATUS_INVALID_ARGUMENT for params out of range.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_model_plan(
    model: *const kcache_model,
    params: *const kcache_context_params,
    plan: *mut kcache_memory_plan,
) -> kcache_status {
    // SAFETY: the caller's promise, here and below.
    unsafe {
        boundary::call(model, |handle| -> Result<()> {
            let wish = versioned::read_or_initial(params)?.wish()?;
            let Planned { options, plan: p } = handle.read()?.plan(wish)?;
            let values = kcache_memory_plan::new(&p, options.policy.selection);
            versioned::write(plan, &values)
        })
    }
}
