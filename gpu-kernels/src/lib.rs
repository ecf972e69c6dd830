//! Device kernels of kcache, one family to a file.
//!
//! Compiled for `nvptx64-nvidia-cuda` this crate is the PTX that the runtime embeds; compiled for
//! the host it is what the emulated tests run, and where the runtime finds each kernel's name,
//! launch bounds and block shape.
//!
//! # Conventions
//! - Matrices are row-major. A shape `[rows, width]` is given with each argument.
//! - The residual stream, products and scores are `f32`; what a product reads (activations,
//!   weights, K and V) has one 16-bit type per model, `bf16` or `f16`, and each such kernel exists
//!   for both: `name_bf16`, `name_f16`.
//! - Widths are multiples of 8 and buffers are aligned to 16 bytes, so that every load is 16 bytes
//!   wide.
//! - K and V of a sequence and layer lie in blocks of 64 positions, `[kv_head][position % 64][d]`,
//!   found through a table of addresses, one for each block.

#![cfg_attr(
    target_arch = "nvptx64",
    no_std,
    feature(abi_ptx, asm_experimental_arch)
)]

mod arrivals;
mod reduce;
#[cfg(any(hopper, not(target_arch = "nvptx64")))]
mod ring;
mod softmax;
mod tile;
mod top_n;
mod top_p;

pub mod decode_attention;
pub mod decode_scores;
pub mod elementwise;
pub mod embedding;
pub mod gemm;
pub mod gemm_skinny;
#[cfg(any(hopper, not(target_arch = "nvptx64")))]
pub mod gemm_wgmma;
pub mod gemv;
pub mod kcache_attention;
pub mod near_rows;
pub mod prefill_attention;
#[cfg(any(hopper, not(target_arch = "nvptx64")))]
pub mod prefill_attention_wgmma;
pub mod read_rate;
pub mod rmsnorm;
pub mod rope;
pub mod sampling;
pub mod select_rows;
pub mod swiglu;
pub mod trim_rows;
pub mod v_combine;
pub mod v_sum;
pub mod v_total;

/// Positions in one block of K or V.
pub const KV_BLOCK: u32 = 64;
