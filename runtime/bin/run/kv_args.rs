//! Flags that choose the KV policy.

use clap::{Args, ValueEnum};
use kcache::cache::{GroupScore, KvPolicy, Selection, Weighting};

use crate::failure::{Failure, Result};

/// Bound on the rows of `--v-top-p` where `--v-max-rows` gives none.
const MAX_ROWS: usize = 512;

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
    /// V beside K (full), on the host and fetched whole (full-offload), or on the host and fetched by need (kcache); auto is full on the CPU
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
    pub v_top_n: Option<usize>,
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
    /// The policy that the flags describe.
    ///
    /// # Errors
    /// [`Failure::Input`] for a V flag without `--kv kcache`, and what
    /// [`KvPolicy::validate`] refuses.
    pub fn policy(&self) -> Result<KvPolicy> {
        let policy = match self.kv {
            Kv::Kcache => self.kcache(),
            Kv::Auto | Kv::Full => self.without_v_flags(KvPolicy::full())?,
            Kv::FullOffload => self.without_v_flags(KvPolicy::full_offload())?,
        };
        policy.validate()?;
        Ok(policy)
    }

    fn kcache(&self) -> KvPolicy {
        let default = KvPolicy::kcache();
        KvPolicy {
            selection: self.selection().unwrap_or(default.selection),
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

    fn selection(&self) -> Option<Selection> {
        let top_n = self.v_top_n.map(|n| Selection::TopN { n });
        let n_max = self.v_max_rows.unwrap_or(MAX_ROWS);
        top_n.or(self.v_top_p.map(|p| Selection::TopP { p, n_max }))
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
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        kv: KvArgs,
    }

    fn policy(flags: &str) -> Result<KvPolicy> {
        let flags = std::iter::once("run").chain(flags.split_whitespace());
        Flags::try_parse_from(flags)
            .expect("flags parse")
            .kv
            .policy()
    }

    #[test]
    fn each_kind_has_its_policy() {
        assert_eq!(policy("").unwrap(), KvPolicy::full());
        assert_eq!(policy("--kv auto").unwrap(), KvPolicy::full());
        assert_eq!(policy("--kv full").unwrap(), KvPolicy::full());
        assert_eq!(
            policy("--kv full-offload").unwrap(),
            KvPolicy::full_offload()
        );
        assert_eq!(policy("--kv kcache").unwrap(), KvPolicy::kcache());
    }

    #[test]
    fn each_v_flag_sets_its_field() {
        let kcache = KvPolicy::kcache;
        for (flags, expected) in [
            (
                "--v-top-n 7",
                KvPolicy {
                    selection: Selection::TopN { n: 7 },
                    ..kcache()
                },
            ),
            (
                "--v-top-p 0.9",
                KvPolicy {
                    selection: Selection::TopP {
                        p: 0.9,
                        n_max: MAX_ROWS,
                    },
                    ..kcache()
                },
            ),
            (
                "--v-top-p 0.9 --v-max-rows 9",
                KvPolicy {
                    selection: Selection::TopP { p: 0.9, n_max: 9 },
                    ..kcache()
                },
            ),
            (
                "--v-window 1",
                KvPolicy {
                    window: 1,
                    ..kcache()
                },
            ),
            (
                "--v-sinks 0",
                KvPolicy {
                    sinks: 0,
                    ..kcache()
                },
            ),
            (
                "--v-hot-rows 5",
                KvPolicy {
                    hot_rows: 5,
                    ..kcache()
                },
            ),
            (
                "--v-dense-layers 3",
                KvPolicy {
                    dense_layers: 3,
                    ..kcache()
                },
            ),
            (
                "--v-weighting raw",
                KvPolicy {
                    weighting: Weighting::Raw,
                    ..kcache()
                },
            ),
            (
                "--v-weighting renormalised",
                KvPolicy {
                    weighting: Weighting::Renormalised,
                    ..kcache()
                },
            ),
            (
                "--v-weighting mean",
                KvPolicy {
                    weighting: Weighting::MeanV,
                    ..kcache()
                },
            ),
            (
                "--v-group-score max",
                KvPolicy {
                    group_score: GroupScore::Max,
                    ..kcache()
                },
            ),
            (
                "--v-group-score sum",
                KvPolicy {
                    group_score: GroupScore::Sum,
                    ..kcache()
                },
            ),
        ] {
            assert_eq!(
                policy(&format!("--kv kcache {flags}")).unwrap(),
                expected,
                "{flags}"
            );
            let flag = flags.split(' ').next().unwrap();
            for kv in ["auto", "full", "full-offload"] {
                let error = policy(&format!("--kv {kv} {flags}"))
                    .unwrap_err()
                    .to_string();
                assert!(error.starts_with(flag), "{error}");
            }
        }
    }

    #[test]
    fn the_help_names_the_defaults_of_the_policy() {
        let default = KvPolicy::kcache();
        let Selection::TopN { n } = default.selection else {
            panic!("{default:?}")
        };
        let command = Flags::command();
        for (flag, value) in [
            ("v_top_n", n),
            ("v_max_rows", MAX_ROWS),
            ("v_window", default.window),
            ("v_sinks", default.sinks),
            ("v_hot_rows", default.hot_rows),
            ("v_dense_layers", default.dense_layers),
        ] {
            let mut args = command.get_arguments();
            let arg = args.find(|arg| arg.get_id() == flag).expect(flag);
            let help = arg.get_help().expect(flag).to_string();
            assert!(help.ends_with(&format!("[default: {value}]")), "{help}");
        }
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for flags in [
            "--v-top-n 0",
            "--v-top-p 0",
            "--v-top-p NaN",
            "--v-top-p 0.9 --v-max-rows 0",
        ] {
            assert!(policy(&format!("--kv kcache {flags}")).is_err(), "{flags}");
        }
    }
}
