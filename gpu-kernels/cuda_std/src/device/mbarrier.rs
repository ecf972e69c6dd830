//! `mbarrier`.

use core::arch::asm;

use super::SharedAddress;

#[inline(always)]
pub fn mbarrier_init(address: SharedAddress, arrivals: u32) {
    // SAFETY: the launch promises that the address holds a barrier.
    unsafe {
        asm!("mbarrier.init.shared::cta.b64 [{}], {};", in(reg32) address, in(reg32) arrivals, options(nostack));
    }
}

#[inline(always)]
pub fn fence_initialised() {
    // SAFETY: a fence.
    unsafe { asm!("fence.mbarrier_init.release.cluster;", options(nostack)) }
}

#[inline(always)]
pub fn mbarrier_arrive(address: SharedAddress) {
    // SAFETY: as for `mbarrier_init`; the memory clobber keeps earlier accesses before it.
    unsafe { asm!("mbarrier.arrive.shared::cta.b64 _, [{}];", in(reg32) address, options(nostack)) }
}

#[inline(always)]
pub fn mbarrier_arrive_expecting(address: SharedAddress, bytes: u32) {
    // SAFETY: as for `mbarrier_arrive`.
    unsafe {
        asm!(
            "mbarrier.arrive.expect_tx.shared::cta.b64 _, [{}], {};",
            in(reg32) address, in(reg32) bytes,
            options(nostack),
        );
    }
}

#[inline(always)]
#[allow(named_asm_labels, reason = "the braces make it local")]
pub fn mbarrier_wait(address: SharedAddress, parity: u32) {
    // SAFETY: as for `mbarrier_init`; the memory clobber keeps later accesses behind it.
    unsafe {
        asm!(
            "{{ .reg .pred ended;",
            "again: mbarrier.try_wait.parity.shared::cta.b64 ended, [{}], {};",
            "@!ended bra again; }}",
            in(reg32) address, in(reg32) parity,
            options(nostack),
        );
    }
}
