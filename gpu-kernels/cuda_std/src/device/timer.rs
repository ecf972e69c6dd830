//! The special registers that tell when and where a thread runs.

use core::arch::asm;

#[inline(always)]
pub fn global_timer() -> u64 {
    let nanoseconds: u64;
    // SAFETY: reads a special register; the memory clobber keeps accesses on their side.
    unsafe { asm!("mov.u64 {}, %globaltimer;", out(reg64) nanoseconds, options(nostack)) };
    nanoseconds
}

#[inline(always)]
pub fn multiprocessor() -> u32 {
    let number: u32;
    // SAFETY: reads a special register.
    unsafe { asm!("mov.u32 {}, %smid;", out(reg32) number, options(nomem, nostack)) };
    number
}
