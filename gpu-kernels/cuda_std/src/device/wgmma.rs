//! `wgmma`, and the registers of a warpgroup.

use core::arch::asm;

use cuda_std_macros::{add_tile, multiply_registers, multiply_tile, start_tile, wait_for_products};

/// Sums that a warpgroup multiplies into.
pub trait WarpgroupSums {
    /// Adds the product of two tiles of `bf16`.
    fn multiply_bf16(&mut self, a: u64, b: u64);
    /// Adds the product of two tiles of `f16`.
    fn multiply_f16(&mut self, a: u64, b: u64);
    /// Starts the product of two tiles of `bf16`.
    fn start_bf16(a: u64, b: u64) -> Self;
    /// Starts the product of two tiles of `f16`.
    fn start_f16(a: u64, b: u64) -> Self;
    /// Starts adding the product of two tiles of `bf16`, and waits for those started before.
    fn add_bf16(&mut self, a: u64, b: u64);
    /// Starts adding the product of two tiles of `f16`, and waits for those started before.
    fn add_f16(&mut self, a: u64, b: u64);
    /// Waits for all products.
    fn wait(&mut self);
    /// Adds the product of `bf16` in registers and a tile that lies across.
    fn multiply_registers_bf16(&mut self, a: &[[u32; 4]; 4], b: u64);
    /// Adds the product of `f16` in registers and a tile that lies across.
    fn multiply_registers_f16(&mut self, a: &[[u32; 4]; 4], b: u64);
}

macro_rules! sums {
    ($($count:literal: $bf16:literal $f16:literal;)*) => {$(
        impl WarpgroupSums for [f32; $count] {
            #[inline(always)]
            fn multiply_bf16(&mut self, a: u64, b: u64) {
                multiply_tile!($bf16, $count, self, a, b);
            }

            #[inline(always)]
            fn multiply_f16(&mut self, a: u64, b: u64) {
                multiply_tile!($f16, $count, self, a, b);
            }

            #[inline(always)]
            fn start_bf16(a: u64, b: u64) -> Self {
                let mut sums = [0.0; $count];
                start_tile!($bf16, $count, sums, a, b);
                sums
            }

            #[inline(always)]
            fn start_f16(a: u64, b: u64) -> Self {
                let mut sums = [0.0; $count];
                start_tile!($f16, $count, sums, a, b);
                sums
            }

            #[inline(always)]
            fn add_bf16(&mut self, a: u64, b: u64) {
                add_tile!($bf16, $count, self, a, b);
            }

            #[inline(always)]
            fn add_f16(&mut self, a: u64, b: u64) {
                add_tile!($f16, $count, self, a, b);
            }

            #[inline(always)]
            fn wait(&mut self) {
                wait_for_products!($count, self);
            }

            #[inline(always)]
            fn multiply_registers_bf16(&mut self, a: &[[u32; 4]; 4], b: u64) {
                multiply_registers!($bf16, $count, self, a, b);
            }

            #[inline(always)]
            fn multiply_registers_f16(&mut self, a: &[[u32; 4]; 4], b: u64) {
                multiply_registers!($f16, $count, self, a, b);
            }
        }
    )*};
}

sums! {
    32: "m64n64k16.f32.bf16.bf16" "m64n64k16.f32.f16.f16";
    64: "m64n128k16.f32.bf16.bf16" "m64n128k16.f32.f16.f16";
    128: "m64n256k16.f32.bf16.bf16" "m64n256k16.f32.f16.f16";
}

#[inline(always)]
pub fn fence_async_proxy() {
    // SAFETY: a fence.
    unsafe { asm!("fence.proxy.async.shared::cta;", options(nostack)) }
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
