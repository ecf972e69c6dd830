//! Which V rows a decode step reads, and how it weighs them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Where V lives and which of its rows a decode step uses.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// All of V stays beside K and every row is used: the baseline.
    Full,
    /// V lives on the host and every row is fetched at each step: equals `Full`.
    FullOffload,
    /// V lives on the host; the `n` rows of largest probability are used.
    TopN {
        /// Rows per KV head, beside sinks and window.
        n: usize,
    },
    /// V lives on the host; the fewest rows that hold probability mass `p` are used.
    TopP {
        /// Mass to reach, sinks and window included, in (0, 1].
        p: f32,
        /// Bound on the rows per KV head, beside sinks and window.
        n_max: usize,
    },
}

/// As command lines and tables name it: `full`, `full-offload`, `topn:128`, `topp:0.95`.
impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("full"),
            Self::FullOffload => f.write_str("full-offload"),
            Self::TopN { n } => write!(f, "topn:{n}"),
            Self::TopP { p, .. } => write!(f, "topp:{p}"),
        }
    }
}

/// What weights the selected rows get. `p` is the exact softmax over all positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weighting {
    /// `p` as it is; the mass of dropped rows is lost.
    Raw,
    /// `p` divided by the mass of the selected rows.
    Renormalised,
    /// `p`, and the dropped mass times the mean of all V rows so far.
    MeanV,
}

/// How the query heads of a group agree on one set of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupScore {
    /// By the sum of their probabilities.
    Sum,
    /// By the largest of their probabilities.
    Max,
}

/// The KV policy of a sequence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KvPolicy {
    /// Which rows.
    pub selection: Selection,
    /// First positions that are always used and stay beside K.
    pub sinks: usize,
    /// Newest positions, the current one included, that are always used and stay beside K.
    pub window: usize,
    /// Leading layers that keep V beside K and use every row.
    pub dense_layers: usize,
    /// Weights of the selected rows.
    pub weighting: Weighting,
    /// Agreement within a group of query heads.
    pub group_score: GroupScore,
    /// V rows that each KV head of each layer keeps beside K after fetching them.
    pub hot_rows: usize,
}

impl KvPolicy {
    /// Every row, V beside K.
    pub fn full() -> Self {
        Self {
            selection: Selection::Full,
            sinks: 0,
            window: 0,
            dense_layers: 0,
            weighting: Weighting::Raw,
            group_score: GroupScore::Sum,
            hot_rows: 0,
        }
    }

    /// Every row, V on the host and fetched at each step.
    pub fn full_offload() -> Self {
        Self {
            selection: Selection::FullOffload,
            ..Self::full()
        }
    }

    /// The default of `--kv kcache`: 128 rows beside a window of 64 and 4 sinks,
    /// two dense layers, dropped mass given to the mean of V, and 512 hot rows.
    /// On SmolLM2-135M this costs 0.012 nats a token at 4,096 tokens
    /// (docs/accuracy.md).
    pub fn kcache() -> Self {
        Self {
            selection: Selection::TopN { n: 128 },
            sinks: 4,
            window: 64,
            dense_layers: 2,
            weighting: Weighting::MeanV,
            group_score: GroupScore::Sum,
            hot_rows: 512,
        }
    }

    /// Whether `layer` keeps V beside K.
    pub fn is_dense(&self, layer: usize) -> bool {
        self.selection == Selection::Full || layer < self.dense_layers
    }

    /// Whether layers that are not dense use some rows of V only.
    pub fn selects(&self) -> bool {
        matches!(
            self.selection,
            Selection::TopN { .. } | Selection::TopP { .. }
        )
    }

    /// Checks the ranges of all fields.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] naming the field, its value and its range.
    pub fn validate(&self) -> Result<()> {
        match self.selection {
            Selection::TopN { n: 0 } => Err(Error::InvalidArgument(
                "KV policy: top-N needs at least 1 row, got 0".into(),
            )),
            Selection::TopP { p, .. } if !(p > 0.0 && p <= 1.0) => Err(Error::InvalidArgument(
                format!("KV policy: top-p mass must be above 0 and at most 1, got {p}"),
            )),
            Selection::TopP { n_max: 0, .. } => Err(Error::InvalidArgument(
                "KV policy: top-p needs a bound of at least 1 row, got 0".into(),
            )),
            _ => Ok(()),
        }
    }
}

impl Default for KvPolicy {
    fn default() -> Self {
        Self::full()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_of_range_selections_are_refused() {
        for selection in [
            Selection::TopN { n: 0 },
            Selection::TopP { p: 0.0, n_max: 9 },
            Selection::TopP { p: 1.5, n_max: 9 },
            Selection::TopP {
                p: f32::NAN,
                n_max: 9,
            },
            Selection::TopP { p: 0.9, n_max: 0 },
        ] {
            let policy = KvPolicy {
                selection,
                ..KvPolicy::kcache()
            };
            assert!(policy.validate().is_err(), "{selection:?}");
        }
        assert!(KvPolicy::kcache().validate().is_ok());
    }

    #[test]
    fn dense_layers_come_first() {
        let policy = KvPolicy::kcache();
        assert!(policy.is_dense(0) && policy.is_dense(1) && !policy.is_dense(2));
        assert!(KvPolicy::full().is_dense(29));
        assert!(!KvPolicy::full_offload().is_dense(0));
    }
}
