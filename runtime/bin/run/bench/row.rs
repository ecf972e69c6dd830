//! One row of results, as every format shows it.

use kcache::cache::{KvPolicy, Selection};
use serde::Serialize;

use super::case::{Case, Work};
use super::figures::Figures;

/// What rows of one policy have in common.
#[derive(Clone, Debug, Serialize)]
pub struct Setting {
    pub model: String,
    pub weight_bytes: u64,
    pub parameters: u64,
    pub backend: String,
    pub debug_build: bool,
    pub policy: KvPolicy,
    pub near_bytes_per_second: f64,
    pub link_bytes_per_second: Option<f64>,
    pub repetitions: usize,
}

/// A case, where it ran, and its figures.
#[derive(Clone, Debug, Serialize)]
pub struct Row<'a> {
    #[serde(flatten)]
    pub setting: &'a Setting,
    pub kv: String,
    pub batch: usize,
    pub n_prompt: usize,
    pub n_gen: usize,
    pub n_depth: usize,
    pub test: String,
    #[serde(flatten)]
    pub figures: &'a Figures,
}

impl<'a> Row<'a> {
    /// Puts them together.
    pub fn new(setting: &'a Setting, case: &Case, figures: &'a Figures) -> Self {
        let (n_prompt, n_gen) = match case.work {
            Work::Prompt(n) => (n, 0),
            Work::Generate(n) => (0, n),
        };
        Self {
            kv: label(&setting.policy),
            batch: case.batch,
            n_prompt,
            n_gen,
            n_depth: case.depth,
            test: case.name(),
            setting,
            figures,
        }
    }
}

/// The policy in a word.
fn label(policy: &KvPolicy) -> String {
    match policy.selection {
        Selection::Full => "full".into(),
        Selection::FullOffload => "full-offload".into(),
        Selection::TopN { n } => format!("topn:{n}"),
        Selection::TopP { p, .. } => format!("topp:{p}"),
    }
}
