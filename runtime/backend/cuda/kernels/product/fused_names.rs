//! Which kernels of `gemm_skinny` do what.

use cuda_std::Kernel;
use gpu_kernels::gemm_skinny::{self as skinny, SkinnyShape};

/// A kernel and how it is launched.
type Shaped = (SkinnyShape, &'static Kernel);

/// Kernels by the most rows that they take.
pub struct Names {
    /// `out = x · wᵀ + bias + residual`.
    pub adding: &'static [Shaped],
    pub joint: &'static [Shaped],
    pub gated: &'static [Shaped],
    /// Also of the gate, where there are enough columns.
    pub wide_gated: Option<Shaped>,
}

const ROWS_8: SkinnyShape = skinny::SHAPES[0];
const ROWS_16: SkinnyShape = skinny::SHAPES[1];
const ROWS_32: SkinnyShape = skinny::SHAPES[2];
const ROWS_64: SkinnyShape = skinny::SHAPES[3];

const ADDING: [Shaped; 4] = [
    (ROWS_8, &skinny::GEMM_SKINNY_8_BF16),
    (ROWS_16, &skinny::GEMM_SKINNY_16_BF16),
    (ROWS_32, &skinny::GEMM_SKINNY_32_BF16),
    (ROWS_64, &skinny::GEMM_SKINNY_64_BF16),
];

const JOINT: [Shaped; 4] = [
    (ROWS_8, &skinny::GEMM_SKINNY_JOINT_8_BF16),
    (ROWS_16, &skinny::GEMM_SKINNY_JOINT_16_BF16),
    (ROWS_32, &skinny::GEMM_SKINNY_JOINT_32_BF16),
    (ROWS_64, &skinny::GEMM_SKINNY_JOINT_64_BF16),
];

const GATED: [Shaped; 4] = [
    (ROWS_8, &skinny::GEMM_SKINNY_GATED_8_BF16),
    (ROWS_16, &skinny::GEMM_SKINNY_GATED_16_BF16),
    (ROWS_32, &skinny::GEMM_SKINNY_GATED_32_BF16),
    (ROWS_64, &skinny::GEMM_SKINNY_GATED_64_BF16),
];

/// Those for eight rows and for 16, then those by registers for more.
const fn before(rows_8: Shaped, rows_16: Shaped, [_, _, c, d]: [Shaped; 4]) -> [Shaped; 4] {
    [rows_8, rows_16, c, d]
}

/// Weights are loaded into registers.
pub const REGISTERS: Names = Names {
    adding: &ADDING,
    joint: &JOINT,
    gated: &GATED,
    wide_gated: None,
};

/// Those of up to 16 rows are copied to shared memory.
pub const COPIES: Names = Names {
    adding: &before(
        (skinny::STREAMED, &skinny::GEMM_STREAMED_BF16),
        (skinny::BOXED, &skinny::GEMM_BOXED_BF16),
        ADDING,
    ),
    joint: &before(
        (skinny::STREAMED_JOINT, &skinny::GEMM_STREAMED_JOINT_BF16),
        (skinny::BOXED, &skinny::GEMM_BOXED_JOINT_BF16),
        JOINT,
    ),
    gated: &before(
        (skinny::STREAMED_JOINT, &skinny::GEMM_STREAMED_GATED_BF16),
        (skinny::BOXED, &skinny::GEMM_BOXED_GATED_BF16),
        GATED,
    ),
    wide_gated: Some((
        skinny::STREAMED_WIDE,
        &skinny::GEMM_STREAMED_WIDE_GATED_BF16,
    )),
};
