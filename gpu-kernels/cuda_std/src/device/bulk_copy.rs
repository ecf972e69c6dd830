//! `cp.async.bulk`.

use core::arch::asm;

use super::{GlobalAddress, SharedAddress};

/// The generic address of a map among the kernel's parameters.
pub type TensorMapHandle = u64;

/// What a kernel's parameter of this type is declared as. The compiler knows no larger alignment
/// for parameters; the step that writes launch bounds makes it 64.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
pub struct TensorMapBytes([u128; 8]);

/// The policy of what is read once.
#[inline(always)]
fn evicted_first() -> u64 {
    let policy: u64;
    // SAFETY: makes a number of numbers.
    unsafe {
        asm!(
            "createpolicy.fractional.L2::evict_first.b64 {}, 1.0;",
            out(reg64) policy,
            options(pure, nomem, nostack),
        );
    }
    policy
}

#[inline(always)]
pub fn bulk_copy(
    destination: SharedAddress,
    source: GlobalAddress,
    bytes: u32,
    barrier: SharedAddress,
    streaming: bool,
) {
    // SAFETY: the launch promises that all addresses are sound; the memory clobber orders the copy
    // with the other accesses.
    unsafe {
        if streaming {
            asm!(
                "{{ .reg .b64 source; cvta.to.global.u64 source, {source};",
                "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [{destination}], [source], {bytes}, [{barrier}], {policy}; }}",
                destination = in(reg32) destination, source = in(reg64) source,
                bytes = in(reg32) bytes, barrier = in(reg32) barrier,
                policy = in(reg64) evicted_first(),
                options(nostack),
            );
        } else {
            asm!(
                "{{ .reg .b64 source; cvta.to.global.u64 source, {source};",
                "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [{destination}], [source], {bytes}, [{barrier}]; }}",
                destination = in(reg32) destination, source = in(reg64) source,
                bytes = in(reg32) bytes, barrier = in(reg32) barrier,
                options(nostack),
            );
        }
    }
}

#[inline(always)]
pub fn tensor_copy(
    destination: SharedAddress,
    map: &TensorMapHandle,
    [column, row]: [u32; 2],
    barrier: SharedAddress,
    streaming: bool,
) {
    // SAFETY: as for `bulk_copy`.
    unsafe {
        if streaming {
            asm!(
                "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.L2::cache_hint [{destination}], [{map}, {{{column}, {row}}}], [{barrier}], {policy};",
                destination = in(reg32) destination, map = in(reg64) *map,
                column = in(reg32) column, row = in(reg32) row, barrier = in(reg32) barrier,
                policy = in(reg64) evicted_first(),
                options(nostack),
            );
        } else {
            asm!(
                "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [{destination}], [{map}, {{{column}, {row}}}], [{barrier}];",
                destination = in(reg32) destination, map = in(reg64) *map,
                column = in(reg32) column, row = in(reg32) row, barrier = in(reg32) barrier,
                options(nostack),
            );
        }
    }
}

#[inline(always)]
pub fn prefetch_tensor_map(map: &TensorMapHandle) {
    // SAFETY: a hint.
    unsafe { asm!("prefetch.tensormap [{}];", in(reg64) *map, options(nostack)) }
}
