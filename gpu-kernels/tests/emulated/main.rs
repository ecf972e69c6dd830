//! Every kernel, run by the emulation and compared with plain arithmetic in 64 bits.
//!
//! Inputs come from fixed seeds. Outputs start unwritten, which reads as NaN, and every buffer has
//! exactly the size that the kernel documents, so that a stray access is a finding.

#![allow(missing_docs, clippy::panic, clippy::unwrap_used, clippy::print_stdout)]

mod attention;
mod decode;
mod decode_dense;
mod decode_reference;
mod decode_step;
mod device;
mod elementwise;
mod findings;
mod kcache;
mod kcache_hot;
mod kcache_index;
mod kcache_model;
mod kcache_reference;
mod kcache_setup;
mod kcache_step;
mod kcache_traced;
mod near_rows;
mod products;
mod products_joint;
mod products_kept;
mod products_skinny;
mod products_wgmma;
mod rope;
mod rows;
mod select;
mod strides;
mod support;
