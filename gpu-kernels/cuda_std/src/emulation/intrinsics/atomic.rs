//! Atomic operations.

use std::panic::Location;

use crate::emulation::machine::with;

macro_rules! atomics {
    ($($name:ident, $element:ty, $from:expr, $new:expr, $bits:expr;)*) => {$(
        #[track_caller]
        pub fn $name(address: u64, value: $element) -> $element {
            let from: fn(u32) -> $element = $from;
            let new: fn($element, $element) -> $element = $new;
            let bits: fn($element) -> u32 = $bits;
            let site = Location::caller();
            from(with(|m| m.atomic(address, site, |old| bits(new(from(old), value)))))
        }
    )*};
}

atomics! {
    global_add_u32, u32, |x| x, u32::wrapping_add, |x| x;
    global_add_i32, i32, |x| x as i32, i32::wrapping_add, |x| x as u32;
    global_add_f32, f32, f32::from_bits, |x, y| x + y, f32::to_bits;
    global_max_u32, u32, |x| x, u32::max, |x| x;
    shared_add_u32, u32, |x| x, u32::wrapping_add, |x| x;
    shared_add_i32, i32, |x| x as i32, i32::wrapping_add, |x| x as u32;
    shared_add_f32, f32, f32::from_bits, |x, y| x + y, f32::to_bits;
    shared_max_u32, u32, |x| x, u32::max, |x| x;
}

#[track_caller]
pub fn global_cas_u32(address: u64, expected: u32, new: u32) -> u32 {
    let site = Location::caller();
    with(|m| m.atomic(address, site, |old| if old == expected { new } else { old }))
}

#[track_caller]
pub fn shared_cas_u32(address: u64, expected: u32, new: u32) -> u32 {
    global_cas_u32(address, expected, new)
}
