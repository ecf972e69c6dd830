//! Settings of a context: its size, and where K and V live.

use super::engine::Wish;
use super::failure::{Failure, Result};
use super::input;
use super::status::kcache_status;
use super::versioned::{self, Versioned};
use crate::cache::{GroupScore, KvPolicy, Selection, Weighting};
use crate::engine::ContextOptions;

/// Where V lives, for the field kv_policy.
#[repr(C)]
#[derive(Clone, Copy)]
pub enum kcache_kv_policy {
    /// FULL while the whole context fits the device, else KCACHE.
    Auto = 0,
    /// V beside K on the device; every row is used.
    Full = 1,
    /// V on the host, fetched whole at each step: equals FULL.
    FullOffload = 2,
    /// V on the host; the rows that matter are fetched, as the v_ fields say.
    Kcache = 3,
}

/// What weights the selected rows of V get, for the field v_weighting.
#[repr(C)]
#[derive(Clone, Copy)]
pub enum kcache_v_weighting {
    /// Their probabilities.
    Raw = 0,
    /// Their probabilities divided by the sum of those.
    Renormalised = 1,
    /// Their probabilities, and the rest goes to the mean of V.
    Mean = 2,
}

/// How the query heads of a group rank rows of V together, for the field
/// v_group_score.
#[repr(C)]
#[derive(Clone, Copy)]
pub enum kcache_v_group_score {
    /// By the sum of their probabilities.
    Sum = 0,
    /// By the largest of their probabilities.
    Max = 1,
}

/// Settings of kcache_context_new() and kcache_model_plan().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct kcache_context_params {
    /// sizeof(kcache_context_params)
    pub struct_size: usize,
    /// Tokens of prompt and reply together; 0: what the model was made for, or
    /// as many as fit the memory.
    pub n_ctx: usize,
    /// Prompt tokens computed at once, which is how soon a cancel takes effect;
    /// 0: what suits the device.
    pub prefill_chunk: usize,
    /// A kcache_kv_policy.
    pub kv_policy: u32,
    /// A kcache_v_weighting.
    pub v_weighting: u32,
    /// A kcache_v_group_score.
    pub v_group_score: u32,
    /// If above 0, the fewest rows that hold this share of the attention are
    /// used, instead of v_top_n; at most 1.
    pub v_top_p: f32,
    /// Rows of V that each KV head uses, beside sinks and window.
    pub v_top_n: usize,
    /// Bound on the rows of v_top_p.
    pub v_max_rows: usize,
    /// Newest positions whose V is always used and stays beside K.
    pub v_window: usize,
    /// First positions whose V is always used and stays beside K.
    pub v_sinks: usize,
    /// Rows of V that each KV head keeps beside K once they were fetched.
    pub v_hot_rows: usize,
    /// Leading layers that keep V beside K and use all of it.
    pub v_dense_layers: usize,
}

// SAFETY: numbers, and four of 32 bits in a row.
unsafe impl Versioned for kcache_context_params {
    const NAME: &'static str = "kcache_context_params";
    const FIRST_SIZE: usize = size_of::<Self>();

    fn initial() -> Self {
        let KvPolicy {
            sinks,
            window,
            dense_layers,
            hot_rows,
            ..
        } = KvPolicy::kcache();
        Self {
            struct_size: size_of::<Self>(),
            n_ctx: 0,
            prefill_chunk: 0,
            kv_policy: kcache_kv_policy::Auto as u32,
            v_weighting: kcache_v_weighting::Mean as u32,
            v_group_score: kcache_v_group_score::Sum as u32,
            v_top_p: 0.0,
            v_top_n: 128,
            v_max_rows: 512,
            v_window: window,
            v_sinks: sinks,
            v_hot_rows: hot_rows,
            v_dense_layers: dense_layers,
        }
    }
}

/// Fills `params` with the defaults; `struct_size` is sizeof(*params).
/// KCACHE_STATUS_INVALID_ARGUMENT for NULL or a size that no version had.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kcache_context_params_default(
    params: *mut kcache_context_params,
    struct_size: usize,
) -> kcache_status {
    // SAFETY: the caller's promise.
    unsafe { versioned::default(params, struct_size) }
}

impl kcache_context_params {
    /// What the engine is asked for.
    ///
    /// # Errors
    /// For a number that stands for nothing. Ranges are checked with the model.
    pub fn wish(&self) -> Result<Wish> {
        let (full, kcache) = (KvPolicy::full(), self.kcache()?);
        kcache.validate()?;
        Ok(Wish {
            options: ContextOptions {
                n_ctx: input::count(self.n_ctx),
                chunk: input::count(self.prefill_chunk),
                ..ContextOptions::default()
            },
            policies: match self.kv_policy {
                0 => vec![full, kcache],
                1 => vec![full],
                2 => vec![KvPolicy::full_offload()],
                3 => vec![kcache],
                other => return Err(unknown("kv_policy", other)),
            },
        })
    }

    fn kcache(&self) -> Result<KvPolicy> {
        let selection = match self.v_top_p {
            0.0 => Selection::TopN { n: self.v_top_n },
            p => Selection::TopP {
                p,
                n_max: self.v_max_rows,
            },
        };
        Ok(KvPolicy {
            selection,
            sinks: self.v_sinks,
            window: self.v_window,
            dense_layers: self.v_dense_layers,
            hot_rows: self.v_hot_rows,
            weighting: match self.v_weighting {
                0 => Weighting::Raw,
                1 => Weighting::Renormalised,
                2 => Weighting::MeanV,
                other => return Err(unknown("v_weighting", other)),
            },
            group_score: match self.v_group_score {
                0 => GroupScore::Sum,
                1 => GroupScore::Max,
                other => return Err(unknown("v_group_score", other)),
            },
        })
    }
}

fn unknown(field: &str, value: u32) -> Failure {
    Failure::argument(format!(
        "{field} {value} is not one that this version knows"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_policies() {
        let params = kcache_context_params::initial();
        let wish = params.wish().unwrap();
        assert_eq!(wish.policies, [KvPolicy::full(), KvPolicy::kcache()]);
        assert_eq!((wish.options.n_ctx, wish.options.chunk), (None, None));
    }

    #[test]
    fn numbers_that_stand_for_nothing_are_named() {
        let initial = kcache_context_params::initial;
        for (params, name) in [
            (
                kcache_context_params {
                    kv_policy: 4,
                    ..initial()
                },
                "kv_policy 4",
            ),
            (
                kcache_context_params {
                    v_weighting: 3,
                    ..initial()
                },
                "v_weighting 3",
            ),
            (
                kcache_context_params {
                    v_group_score: 2,
                    ..initial()
                },
                "v_group_score 2",
            ),
            (
                kcache_context_params {
                    v_top_n: 0,
                    ..initial()
                },
                "at least 1 row",
            ),
            (
                kcache_context_params {
                    v_top_p: f32::NAN,
                    ..initial()
                },
                "NaN",
            ),
            (
                kcache_context_params {
                    v_top_p: -0.5,
                    ..initial()
                },
                "-0.5",
            ),
        ] {
            let failure = params.wish().err().expect("refused");
            assert!(failure.message.contains(name), "{}", failure.message);
        }
    }
}
