//! Matrix products for a few rows by blocks that keep `x` and take row after row of weights.

use cuda_std::{Global, bf16, f16};
use gpu_kernels::gemm_skinny as gemm;

use crate::device::has_wgmma;
use crate::products_joint::{Joint, check_joint};
use crate::products_skinny::{Gated, Product, check, check_gated};
use crate::support::cases;

#[test]
fn kept_products_add_bias_and_residual() {
    if !has_wgmma() {
        return;
    }
    let multiply: Product<bf16, Global<bf16>> = gemm::gemm_kept_bf16;
    // As many elements as there is room for, and shares of different sizes; one row, part of a tile
    // of columns and of a warp's elements; fewer tiles than multiprocessors.
    let small = [(16, 72, 4096), (1, 61, 584), (13, 9, 8)];
    let large = [(16, 4096, 4096), (8, 32000, 4096), (16, 4097, 2056)];
    for size in cases(&small, &large) {
        let kernel = (&gemm::GEMM_KEPT_BF16, multiply, gemm::KEPT);
        check(kernel, size, size.1 % 2 == 1);
    }
    let multiply: Product<f16, Global<f16>> = gemm::gemm_kept_f16;
    check(
        (&gemm::GEMM_KEPT_F16, multiply, gemm::KEPT),
        (11, 40, 136),
        true,
    );
}

#[test]
fn kept_products_apply_the_gate() {
    if !has_wgmma() {
        return;
    }
    let multiply: Gated<bf16, Global<bf16>> = gemm::gemm_kept_gated_bf16;
    for size in cases(&[(16, 40, 64), (1, 27, 1304)], &[(16, 11008, 4096)]) {
        check_gated((&gemm::GEMM_KEPT_GATED_BF16, multiply, gemm::KEPT), size);
    }
    let multiply: Gated<f16, Global<f16>> = gemm::gemm_kept_gated_f16;
    check_gated(
        (&gemm::GEMM_KEPT_GATED_F16, multiply, gemm::KEPT),
        (3, 10, 72),
    );
}

#[test]
fn kept_joint_products_go_to_their_own_results() {
    if !has_wgmma() {
        return;
    }
    let multiply: Joint<bf16, Global<bf16>> = gemm::gemm_kept_joint_bf16;
    let small = [(16, [40, 16, 8], 72), (1, [21, 33, 16], 296)];
    for size in cases(&small, &[(16, [4096, 1024, 1024], 4096)]) {
        check_joint((&gemm::GEMM_KEPT_JOINT_BF16, multiply, gemm::KEPT), size);
    }
    let multiply: Joint<f16, Global<f16>> = gemm::gemm_kept_joint_f16;
    check_joint(
        (&gemm::GEMM_KEPT_JOINT_F16, multiply, gemm::KEPT),
        (3, [24, 0, 0], 64),
    );
}
