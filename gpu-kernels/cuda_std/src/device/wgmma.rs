//! `wgmma`, and the registers of a warpgroup.

use core::arch::asm;

/// Sums that a warpgroup multiplies into.
pub trait WarpgroupSums {
    /// Adds the product of two tiles of `bf16`.
    fn multiply_bf16(&mut self, a: u64, b: u64);
    /// Adds the product of two tiles of `f16`.
    fn multiply_f16(&mut self, a: u64, b: u64);
}

impl WarpgroupSums for [f32; 64] {
    #[inline(always)]
    fn multiply_bf16(&mut self, a: u64, b: u64) {
        cuda_std_macros::multiply_tile!("m64n128k16.f32.bf16.bf16", 64, self, a, b);
    }

    #[inline(always)]
    fn multiply_f16(&mut self, a: u64, b: u64) {
        cuda_std_macros::multiply_tile!("m64n128k16.f32.f16.f16", 64, self, a, b);
    }
}

impl WarpgroupSums for [f32; 128] {
    #[inline(always)]
    fn multiply_bf16(&mut self, a: u64, b: u64) {
        cuda_std_macros::multiply_tile!("m64n256k16.f32.bf16.bf16", 128, self, a, b);
    }

    #[inline(always)]
    fn multiply_f16(&mut self, a: u64, b: u64) {
        cuda_std_macros::multiply_tile!("m64n256k16.f32.f16.f16", 128, self, a, b);
    }
}

#[inline(always)]
pub fn take_registers<const COUNT: u32>() {
    // SAFETY: the assembler knows how many registers the code after it needs.
    unsafe { asm!("setmaxnreg.inc.sync.aligned.u32 {};", const COUNT, options(nomem, nostack)) }
}

#[inline(always)]
pub fn give_registers<const COUNT: u32>() {
    // SAFETY: as above.
    unsafe { asm!("setmaxnreg.dec.sync.aligned.u32 {};", const COUNT, options(nomem, nostack)) }
}
