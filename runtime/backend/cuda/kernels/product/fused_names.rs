//! Which kernels of `gemm_skinny` do what.

use cuda_std::Kernel;
use gpu_kernels::gemm_skinny::{self as skinny, SkinnyShape};

/// A kernel and how it is launched.
type Shaped = (SkinnyShape, &'static Kernel);

/// Of each kind the kernels in the order in which they are asked.
pub struct Names {
    /// `out = x · wᵀ + bias + residual`.
    pub adding: &'static [Shaped],
    pub joint: &'static [Shaped],
    pub gated: &'static [Shaped],
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

/// Those that copy weights, then those by registers for more rows.
const fn before([kept, rows_8, rows_16]: [Shaped; 3], [_, _, c, d]: [Shaped; 4]) -> [Shaped; 5] {
    [kept, rows_8, rows_16, c, d]
}

/// Weights are loaded into registers.
pub const REGISTERS: Names = Names {
    adding: &ADDING,
    joint: &JOINT,
    gated: &GATED,
};

/// Those of up to 16 rows are copied to shared memory.
pub const COPIES: Names = Names {
    adding: &before(
        [
            (skinny::KEPT, &skinny::GEMM_KEPT_BF16),
            (skinny::STREAMED, &skinny::GEMM_STREAMED_BF16),
            (skinny::BOXED, &skinny::GEMM_BOXED_BF16),
        ],
        ADDING,
    ),
    joint: &before(
        [
            (skinny::KEPT, &skinny::GEMM_KEPT_JOINT_BF16),
            (skinny::STREAMED_JOINT, &skinny::GEMM_STREAMED_JOINT_BF16),
            (skinny::BOXED, &skinny::GEMM_BOXED_JOINT_BF16),
        ],
        JOINT,
    ),
    gated: &before(
        [
            (skinny::KEPT, &skinny::GEMM_KEPT_GATED_BF16),
            (skinny::STREAMED_JOINT, &skinny::GEMM_STREAMED_GATED_BF16),
            (skinny::BOXED, &skinny::GEMM_BOXED_GATED_BF16),
        ],
        GATED,
    ),
};
