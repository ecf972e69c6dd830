//! How many sequences a step is of.

use std::str::FromStr;

use kcache::backend::cuda::Cuda;
use kcache::cache::KvPolicy;
use kcache::engine::Planner;
use kcache::synthetic::weight_sizes;
use kcache::{Error, Result};

use crate::Args;
use crate::step::CHUNK;

/// What a user asks for.
#[derive(Clone, Copy, Debug)]
pub enum Batch {
    /// So many sequences.
    Count(usize),
    /// As many as fit with full K and V.
    Full,
    /// As many as fit.
    Max,
}

impl FromStr for Batch {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "full" => Ok(Self::Full),
            "max" => Ok(Self::Max),
            _ => match text.parse() {
                Ok(count) if count > 0 => Ok(Self::Count(count)),
                _ => Err("neither a number above 0 nor full or max".into()),
            },
        }
    }
}

/// Sequences, and a policy under which they fit.
pub struct Fitting {
    pub batch: usize,
    pub policy: KvPolicy,
}

impl Batch {
    /// So many sequences as the memory plan says.
    pub fn fit(self, backend: &Cuda, args: &Args, policy: &KvPolicy) -> Result<Fitting> {
        let config = args.geometry.config(args.layers, args.length);
        let planner = Planner::new(backend, &config, &weight_sizes(&config), Some(CHUNK))?;
        let none = || {
            let plan = planner.plan(policy, args.length, 1);
            Error::InvalidArgument(format!("not even one sequence fits: {plan}"))
        };
        let of = |batch| Fitting {
            batch,
            policy: policy.clone(),
        };
        match self {
            Self::Count(batch) => Ok(of(batch)),
            Self::Full => {
                let full = planner.most_sequences(&KvPolicy::full(), args.length);
                full.map(of).ok_or_else(none)
            }
            Self::Max => {
                let (batch, policy) = planner.fill(policy, args.length).ok_or_else(none)?;
                Ok(Fitting { batch, policy })
            }
        }
    }
}
