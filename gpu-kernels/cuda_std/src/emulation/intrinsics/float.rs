//! Conversions and functions of floats.

use half::{bf16, f16};

pub fn exp2(x: f32) -> f32 {
    x.exp2()
}

pub fn rsqrt(x: f32) -> f32 {
    x.sqrt().recip()
}

pub fn reciprocal(x: f32) -> f32 {
    x.recip()
}

pub fn opaque(value: u32) -> u32 {
    value
}

pub fn fma(a: f32, b: f32, c: f32) -> f32 {
    a.mul_add(b, c)
}

pub fn max_nan(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() {
        f32::NAN
    } else {
        a.max(b)
    }
}

pub fn f32_to_bf16(value: f32) -> u16 {
    bf16::from_f32(value).to_bits()
}

pub fn f32_to_f16(value: f32) -> u16 {
    f16::from_f32(value).to_bits()
}

pub fn f16_to_f32(value: u16) -> f32 {
    f16::from_bits(value).to_f32()
}

pub fn pack_bf16(low: f32, high: f32) -> u32 {
    u32::from(f32_to_bf16(low)) | u32::from(f32_to_bf16(high)) << 16
}

pub fn pack_f16(low: f32, high: f32) -> u32 {
    u32::from(f32_to_f16(low)) | u32::from(f32_to_f16(high)) << 16
}
