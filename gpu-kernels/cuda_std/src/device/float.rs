//! Conversions and functions of floats.

use core::arch::asm;

unsafe extern "C" {
    #[link_name = "llvm.nvvm.ex2.approx.ftz.f"]
    fn ex2_approx(x: f32) -> f32;
    #[link_name = "llvm.nvvm.rsqrt.approx.ftz.f"]
    fn rsqrt_approx(x: f32) -> f32;
    #[link_name = "llvm.nvvm.rcp.approx.ftz.f"]
    fn rcp_approx(x: f32) -> f32;
    #[link_name = "llvm.maximum.f32"]
    fn maximum(a: f32, b: f32) -> f32;
}

#[inline(always)]
pub fn exp2(x: f32) -> f32 {
    // SAFETY: arithmetic only.
    unsafe { ex2_approx(x) }
}

#[inline(always)]
pub fn rsqrt(x: f32) -> f32 {
    // SAFETY: arithmetic only.
    unsafe { rsqrt_approx(x) }
}

#[inline(always)]
pub fn reciprocal(x: f32) -> f32 {
    // SAFETY: arithmetic only.
    unsafe { rcp_approx(x) }
}

#[inline(always)]
pub fn max_nan(a: f32, b: f32) -> f32 {
    // SAFETY: arithmetic only.
    unsafe { maximum(a, b) }
}

#[inline(always)]
pub fn opaque(value: u32) -> u32 {
    let result: u32;
    // SAFETY: a copy.
    unsafe {
        asm!("mov.b32 {}, {};", out(reg32) result, in(reg32) value, options(pure, nomem, nostack));
    }
    result
}

#[inline(always)]
pub fn fma(a: f32, b: f32, c: f32) -> f32 {
    core::f32::math::mul_add(a, b, c)
}

macro_rules! convert {
    ($name:ident, ($($argument:ident: $from:ty),+) -> $to:ty, $out:ident, $in:ident, $instruction:literal) => {
        #[inline(always)]
        pub fn $name($($argument: $from),+) -> $to {
            let result: $to;
            // SAFETY: arithmetic only.
            unsafe {
                asm!(
                    $instruction,
                    result = out($out) result, $($argument = in($in) $argument,)+
                    options(pure, nomem, nostack),
                );
            }
            result
        }
    };
}

// The packing instructions take the high half first.
convert!(f32_to_bf16, (value: f32) -> u16, reg16, reg32, "cvt.rn.bf16.f32 {result}, {value};");
convert!(f32_to_f16, (value: f32) -> u16, reg16, reg32, "cvt.rn.f16.f32 {result}, {value};");
convert!(f16_to_f32, (value: u16) -> f32, reg32, reg16, "cvt.f32.f16 {result}, {value};");
convert!(pack_bf16, (low: f32, high: f32) -> u32, reg32, reg32, "cvt.rn.bf16x2.f32 {result}, {high}, {low};");
convert!(pack_f16, (low: f32, high: f32) -> u32, reg32, reg32, "cvt.rn.f16x2.f32 {result}, {high}, {low};");
