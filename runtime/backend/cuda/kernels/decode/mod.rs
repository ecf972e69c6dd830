//! The steps of a batch's attention, each over all of its sequences: scores,
//! selection, sum, combination.

mod fused;
mod scores;
mod select;
mod sum;

use gpu_kernels::decode_scores::POSITIONS;
use gpu_kernels::v_sum::ROWS;

use super::super::tuning::Choices;
use super::{ByHead, function};
use crate::driver::{DeviceSlice, DeviceSliceMut, Function, Module, Result};

pub use fused::{FusedWorkspace, Places, Rest, Selection, workspace_sizes};

/// Parts of the sum over V, at most.
const MAX_SPLITS: usize = 32;

/// The kernels of `kcache_attention`, `decode_scores.rs`, `select_rows.rs`,
/// `v_sum.rs`, `v_combine.rs` and `v_total.rs`.
pub struct Kernels {
    fused: fused::Kernels,
    scores: ByHead,
    select: Function,
    sum: ByHead,
    combine: Function,
    total: Function,
}

/// Sizes of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub sequences: usize,
    pub q_heads: usize,
    pub kv_heads: usize,
    pub dim: usize,
    /// Positions that a sequence has at most, even.
    pub capacity: usize,
    /// Blocks from the table of one sequence to the next.
    pub table_stride: usize,
}

/// What the kernels of a step leave for each other.
pub struct Workspace<'a> {
    /// `[sequences, q_heads, capacity]`.
    pub scores: DeviceSliceMut<'a, f32>,
    /// `[sequences, q_heads, score_splits, 2]`.
    pub partials: DeviceSliceMut<'a, f32>,
    /// `[sequences, q_heads, 2]`.
    pub stats: DeviceSliceMut<'a, f32>,
    /// `[sequences, kv_heads]`.
    pub rows: DeviceSliceMut<'a, u32>,
    /// `[sequences, kv_heads]`.
    pub counts: DeviceSliceMut<'a, u32>,
    /// `[sequences, q_heads, sum_splits, dim]`.
    pub sums: DeviceSliceMut<'a, f32>,
    /// `[sequences, q_heads, sum_splits]`.
    pub kept: DeviceSliceMut<'a, f32>,
}

/// The sequences of a step, on the device.
#[derive(Clone, Copy)]
pub struct Sequences<'a> {
    /// Positions of each, at least 1.
    pub lengths: DeviceSlice<'a, u32>,
    /// Addresses of the blocks of K, `[sequences, table_stride]`.
    pub k_table: DeviceSlice<'a, u64>,
    /// Addresses of the blocks of V.
    pub v_table: DeviceSlice<'a, u64>,
}

impl Shape {
    /// Query heads of all sequences.
    pub fn queries(&self) -> usize {
        self.sequences * self.q_heads
    }

    /// KV heads of all sequences.
    pub fn pairs(&self) -> usize {
        self.sequences * self.kv_heads
    }

    /// Parts of the softmax.
    pub fn score_splits(&self) -> usize {
        self.capacity.div_ceil(POSITIONS as usize)
    }

    /// Parts of the sum over V.
    pub fn sum_splits(&self) -> usize {
        self.capacity.div_ceil(ROWS as usize).clamp(1, MAX_SPLITS)
    }
}

impl Kernels {
    pub fn load(module: &Module, choices: &Choices) -> Result<Self> {
        Ok(Self {
            fused: fused::Kernels::load(module, choices.kcache_attention)?,
            scores: scores::load(module)?,
            select: function(module, &gpu_kernels::select_rows::SELECT_ROWS)?,
            sum: sum::load(module)?,
            combine: function(module, &gpu_kernels::v_combine::V_COMBINE_BF16)?,
            total: function(module, &gpu_kernels::v_total::V_TOTAL)?,
        })
    }
}
