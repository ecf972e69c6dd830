//! `cp.async`.

use core::arch::asm;

use super::{GlobalAddress, SharedAddress};

#[inline(always)]
pub fn async_copy_16(destination: SharedAddress, source: GlobalAddress, valid: u32) {
    // SAFETY: the launch promises that both addresses are sound; the memory clobber orders the
    // copy with the other accesses.
    unsafe {
        asm!(
            "cp.async.cg.shared.global [{}], [{}], 16, {};",
            in(reg32) destination, in(reg64) source, in(reg32) valid,
            options(nostack),
        );
    }
}

#[inline(always)]
pub fn async_commit() {
    // SAFETY: changes only the thread's own list of copies.
    unsafe { asm!("cp.async.commit_group;", options(nostack)) }
}

#[inline(always)]
pub fn async_wait<const PENDING: u32>() {
    // SAFETY: waits; the memory clobber keeps later reads behind it.
    unsafe { asm!("cp.async.wait_group {};", const PENDING, options(nostack)) }
}
