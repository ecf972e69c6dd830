//! `griddepcontrol`.

#[cfg(hopper)]
use core::arch::asm;

#[inline(always)]
pub fn release_next_grid() {
    #[cfg(hopper)]
    // SAFETY: a hint of when the next launch may begin.
    unsafe {
        asm!("griddepcontrol.launch_dependents;", options(nostack));
    }
}

#[inline(always)]
pub fn wait_for_previous_grid() {
    #[cfg(hopper)]
    // SAFETY: waits; the memory clobber keeps later accesses behind it.
    unsafe {
        asm!("griddepcontrol.wait;", options(nostack));
    }
}
