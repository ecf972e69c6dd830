//! The kernels on a device: the tests of `gpu-kernels`, and larger sizes.
//!
//! `KCACHE_TEST_IMAGE=sm_80` tests that PTX image where the device would take another;
//! `KCACHE_TEST_SIZES=small` leaves the larger sizes out.

#![cfg(test)]
#![cfg(feature = "gpu-tests")]

mod canary;
mod device;

#[path = "../../gpu-kernels/tests/emulated/attention.rs"]
mod attention;
#[path = "../../gpu-kernels/tests/emulated/decode.rs"]
mod decode;
#[path = "../../gpu-kernels/tests/emulated/decode_dense.rs"]
mod decode_dense;
#[path = "../../gpu-kernels/tests/emulated/decode_reference.rs"]
mod decode_reference;
#[path = "../../gpu-kernels/tests/emulated/decode_step.rs"]
mod decode_step;
#[path = "../../gpu-kernels/tests/emulated/elementwise.rs"]
mod elementwise;
#[path = "../../gpu-kernels/tests/emulated/kcache.rs"]
mod kcache;
#[path = "../../gpu-kernels/tests/emulated/kcache_hot.rs"]
mod kcache_hot;
#[path = "../../gpu-kernels/tests/emulated/kcache_model.rs"]
mod kcache_model;
#[path = "../../gpu-kernels/tests/emulated/kcache_reference.rs"]
mod kcache_reference;
#[path = "../../gpu-kernels/tests/emulated/kcache_setup.rs"]
mod kcache_setup;
#[path = "../../gpu-kernels/tests/emulated/kcache_step.rs"]
mod kcache_step;
#[path = "../../gpu-kernels/tests/emulated/kcache_traced.rs"]
mod kcache_traced;
#[path = "../../gpu-kernels/tests/emulated/near_rows.rs"]
mod near_rows;
#[path = "../../gpu-kernels/tests/emulated/products.rs"]
mod products;
#[path = "../../gpu-kernels/tests/emulated/products_joint.rs"]
mod products_joint;
#[path = "../../gpu-kernels/tests/emulated/products_kept.rs"]
mod products_kept;
#[path = "../../gpu-kernels/tests/emulated/products_skinny.rs"]
mod products_skinny;
#[path = "../../gpu-kernels/tests/emulated/products_wgmma.rs"]
mod products_wgmma;
#[path = "../../gpu-kernels/tests/emulated/rope.rs"]
mod rope;
#[path = "../../gpu-kernels/tests/emulated/rows.rs"]
mod rows;
#[path = "../../gpu-kernels/tests/emulated/select.rs"]
mod select;
#[path = "../../gpu-kernels/tests/emulated/support.rs"]
mod support;
