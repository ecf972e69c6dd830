//! Flags that choose the KV policy.

use clap::{Args, ValueEnum};
use kcache::cache::{GroupScore, KvPolicy, Selection, Weighting};

use crate::failure::{Failure, Result};
use crate::sizes::Sizes;

/// Bound on the rows of `--v-top-p` where `--v-max-rows` gives none.
pub const MAX_ROWS: usize = 512;

// Variants have no doc comments: clap would turn the help of every flag into a page.

/// Where V lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kv {
    Auto,
    Full,
    FullOffload,
    Kcache,
}

/// What weights the selected V rows get.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum VWeighting {
    Raw,
    Renormalised,
    Mean,
}

/// How the query heads of a group rank V rows together.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum VGroupScore {
    Sum,
    Max,
}

/// Where K and V live, and which rows of V a decode step uses.
#[derive(Debug, Args)]
#[command(next_help_heading = "KV cache (the --v flags need --kv kcache)")]
pub struct KvArgs {
    /// V beside K (full), on the host and fetched whole (full-offload), or on the host and fetched by need (kcache); auto is full while that fits, else kcache
    #[arg(
        long,
        value_enum,
        value_name = "POLICY",
        default_value = "auto",
        env = "KCACHE_KV"
    )]
    pub kv: Kv,
    /// V rows of each KV head, beside sinks and window [default: 128]
    #[arg(long, value_name = "N", env = "KCACHE_V_TOP_N")]
    pub v_top_n: Option<Sizes>,
    /// Instead of a number: the fewest V rows with this attention mass
    #[arg(
        long,
        value_name = "P",
        allow_negative_numbers = true,
        conflicts_with = "v_top_n",
        env = "KCACHE_V_TOP_P"
    )]
    pub v_top_p: Option<f32>,
    /// Bound on the rows of --v-top-p [default: 512]
    #[arg(
        long,
        value_name = "N",
        requires = "v_top_p",
        env = "KCACHE_V_MAX_ROWS"
    )]
    pub v_max_rows: Option<usize>,
    /// Newest positions whose V is always used and stays beside K [default: 64]
    #[arg(long, value_name = "N", env = "KCACHE_V_WINDOW")]
    pub v_window: Option<usize>,
    /// First positions whose V is always used and stays beside K [default: 4]
    #[arg(long, value_name = "N", env = "KCACHE_V_SINKS")]
    pub v_sinks: Option<usize>,
    /// V rows of each KV head that stay beside K once fetched [default: 512]
    #[arg(long, value_name = "N", env = "KCACHE_V_HOT_ROWS")]
    pub v_hot_rows: Option<usize>,
    /// Leading layers that keep V beside K and use all of it [default: 2]
    #[arg(long, value_name = "N", env = "KCACHE_V_DENSE_LAYERS")]
    pub v_dense_layers: Option<usize>,
    /// Weights of the selected V rows: their probabilities (raw), divided by their sum (renormalised), or with the rest given to the mean of V (mean) [default: mean]
    #[arg(long, value_enum, value_name = "HOW", env = "KCACHE_V_WEIGHTING")]
    pub v_weighting: Option<VWeighting>,
    /// What ranks V rows for a group of query heads: the sum or the maximum of their probabilities [default: sum]
    #[arg(long, value_enum, value_name = "HOW", env = "KCACHE_V_GROUP_SCORE")]
    pub v_group_score: Option<VGroupScore>,
}

impl KvArgs {
    /// The policies that the flags describe, of which the first that fits is meant.
    ///
    /// # Errors
    /// [`Failure::Input`] for a V flag without `--kv kcache`, and what
    /// [`KvPolicy::validate`] refuses.
    pub fn policies(&self) -> Result<Vec<KvPolicy>> {
        let mut sweep = self.sweep()?;
        match sweep.len() {
            1 => Ok(sweep.remove(0)),
            n => Err(Failure::Input(format!(
                "--v-top-n takes one number here, got {n}; run bench takes several"
            ))),
        }
    }

    /// As [`KvArgs::policies`], for each number of `--v-top-n`.
    ///
    /// # Errors
    /// As [`KvArgs::policies`].
    pub fn sweep(&self) -> Result<Vec<Vec<KvPolicy>>> {
        let full = KvPolicy::full();
        let sweep = match self.kv {
            Kv::Kcache => self.selections().map(|s| vec![self.with(s)]).collect(),
            Kv::Auto => vec![vec![self.without_v_flags(full)?, KvPolicy::kcache()]],
            Kv::Full => vec![vec![self.without_v_flags(full)?]],
            Kv::FullOffload => vec![vec![self.without_v_flags(KvPolicy::full_offload())?]],
        };
        for policy in sweep.iter().flatten() {
            policy.validate()?;
        }
        Ok(sweep)
    }

    /// `--kv kcache` with the `--v` flags, of `--v-top-n` its first number.
    pub fn kcache(&self) -> KvPolicy {
        self.with(self.selections().next().flatten())
    }

    fn with(&self, selection: Option<Selection>) -> KvPolicy {
        let default = KvPolicy::kcache();
        KvPolicy {
            selection: selection.unwrap_or(default.selection),
            sinks: self.v_sinks.unwrap_or(default.sinks),
            window: self.v_window.unwrap_or(default.window),
            dense_layers: self.v_dense_layers.unwrap_or(default.dense_layers),
            hot_rows: self.v_hot_rows.unwrap_or(default.hot_rows),
            weighting: self.v_weighting.map_or(default.weighting, Weighting::from),
            group_score: self
                .v_group_score
                .map_or(default.group_score, GroupScore::from),
        }
    }

    /// What the flags select, one for each number of `--v-top-n`.
    fn selections(&self) -> impl Iterator<Item = Option<Selection>> {
        let n_max = self.v_max_rows.unwrap_or(MAX_ROWS);
        let top_p = self.v_top_p.map(|p| Selection::TopP { p, n_max });
        let top_n = self.v_top_n.iter().flat_map(|Sizes(sizes)| sizes);
        let other = self.v_top_n.is_none().then_some(top_p);
        let top_n = top_n.map(|&n| Some(Selection::TopN { n }));
        other.into_iter().chain(top_n)
    }

    fn without_v_flags(&self, policy: KvPolicy) -> Result<KvPolicy> {
        match self.first_v_flag() {
            None => Ok(policy),
            Some(flag) => Err(Failure::Input(format!(
                "{flag} has no effect without --kv kcache"
            ))),
        }
    }

    fn first_v_flag(&self) -> Option<&'static str> {
        [
            ("--v-top-n", self.v_top_n.is_some()),
            ("--v-top-p", self.v_top_p.is_some()),
            ("--v-max-rows", self.v_max_rows.is_some()),
            ("--v-window", self.v_window.is_some()),
            ("--v-sinks", self.v_sinks.is_some()),
            ("--v-hot-rows", self.v_hot_rows.is_some()),
            ("--v-dense-layers", self.v_dense_layers.is_some()),
            ("--v-weighting", self.v_weighting.is_some()),
            ("--v-group-score", self.v_group_score.is_some()),
        ]
        .into_iter()
        .find_map(|(flag, given)| given.then_some(flag))
    }
}

impl From<VWeighting> for Weighting {
    fn from(weighting: VWeighting) -> Self {
        match weighting {
            VWeighting::Raw => Self::Raw,
            VWeighting::Renormalised => Self::Renormalised,
            VWeighting::Mean => Self::MeanV,
        }
    }
}

impl From<VGroupScore> for GroupScore {
    fn from(score: VGroupScore) -> Self {
        match score {
            VGroupScore::Sum => Self::Sum,
            VGroupScore::Max => Self::Max,
        }
    }
}

#[cfg(test)]
mod tests;
