//! Shapes and policy of a decode step whose kernel is tested.

use gpu_kernels::select_rows::GroupScore;
use gpu_kernels::v_combine::Weighting;

/// Shapes and policy.
#[derive(Clone, Debug)]
pub struct Setup {
    pub q_heads: usize,
    pub kv_heads: usize,
    pub dim: usize,
    pub lengths: Vec<usize>,
    pub sinks: usize,
    pub window: usize,
    pub top: usize,
    pub p: f32,
    pub slots: usize,
    pub candidates: usize,
    pub split: usize,
    pub group_score: GroupScore,
    pub weighting: Weighting,
    /// Different keys of a sequence; others are copies of these, and so have equal scores.
    pub distinct: usize,
}

impl Setup {
    /// One head of one sequence, a selection of 20 rows.
    pub fn new(dim: usize, length: usize) -> Self {
        Self {
            q_heads: 1,
            kv_heads: 1,
            dim,
            lengths: vec![length],
            sinks: 2,
            window: 5,
            top: 20,
            p: 1.0,
            slots: 0,
            candidates: 512,
            split: 256,
            group_score: GroupScore::Sum,
            weighting: Weighting::MeanV,
            distinct: usize::MAX,
        }
    }

    /// The positions that compete.
    pub fn middle(&self, length: usize) -> std::ops::Range<usize> {
        let first = self.sinks.min(length);
        first..length.saturating_sub(self.window).max(first)
    }
}
