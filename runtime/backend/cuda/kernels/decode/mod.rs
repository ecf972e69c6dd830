//! The attention of a decode step, over all sequences of a batch.

mod dense;
mod fused;
mod total;

use super::super::tuning::{Choices, ScanChoice, ScanKernel};
use super::{ByHead, Library, function};
use crate::driver::{DeviceSlice, DeviceSliceMut, Function, Module, Result};

pub use fused::{FusedWorkspace, Places, Rest, Selection, mark_words, workspace_sizes};

/// The kernels of `kcache_attention`, `decode_attention` and `v_total.rs`.
pub struct Kernels {
    scan: ScanChoice,
    registers: fused::Kernels,
    /// Where the image has them.
    copies: Option<fused::Kernels>,
    dense: ByHead,
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
    /// Those of the device.
    pub multiprocessors: usize,
}

/// Where the blocks of dense attention leave what they have for the last of them.
pub struct Workspace<'a> {
    /// `[sequences, q_heads, splits, dim]`.
    pub partials: DeviceSliceMut<'a, f32>,
    /// `[sequences, q_heads, splits, 2]`.
    pub stats: DeviceSliceMut<'a, f32>,
    /// `[Shape::arrivals]`.
    pub arrivals: DeviceSliceMut<'a, u32>,
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
}

impl Kernels {
    pub fn load((module, library): (&Module, &Library), choices: &Choices) -> Result<Self> {
        let scan = choices.kcache_attention;
        let copies = match scan {
            ScanChoice::Registers => None,
            ScanChoice::Copies | ScanChoice::ByMisses => Some(fused::Kernels::copies(library)),
        };
        Ok(Self {
            scan,
            registers: fused::Kernels::registers(library),
            copies,
            dense: dense::kernels(library),
            total: function(module, &gpu_kernels::v_total::V_TOTAL)?,
        })
    }

    /// Compiles what heads of `dim` elements need, and what selects rows, if that is done.
    pub fn prepare(&self, dim: usize, selects: bool) -> Result<()> {
        self.dense.of(dim)?;
        if !selects {
            return Ok(());
        }
        if self.scan != ScanChoice::Copies {
            self.registers.prepare(dim)?;
        }
        self.copies
            .iter()
            .try_for_each(|copies| copies.prepare(dim))
    }

    /// Compiles the kernels that leave marks, so that no traced launch waits for it.
    pub fn prepare_traced(&self) -> Result<()> {
        self.registers.prepare_traced()?;
        let mut copies = self.copies.iter();
        copies.try_for_each(fused::Kernels::prepare_traced)
    }

    /// Which of the kernels that select rows are to be used.
    pub fn scan(&self) -> ScanChoice {
        self.scan
    }

    /// Those that scan keys in a way, or in the only one there is.
    pub fn selecting(&self, scan: ScanKernel) -> &fused::Kernels {
        match (scan, &self.copies) {
            (ScanKernel::Copies, Some(copies)) => copies,
            _ => &self.registers,
        }
    }
}
