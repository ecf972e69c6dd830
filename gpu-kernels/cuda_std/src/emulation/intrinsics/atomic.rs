//! Atomic operations.

use std::panic::Location;

use crate::emulation::machine::with;

macro_rules! atomics {
    ($($name:ident, $element:ident, $new:expr;)*) => {$(
        #[track_caller]
        pub fn $name(address: u64, value: $element) -> $element {
            let new: fn($element, $element) -> $element = $new;
            let site = Location::caller();
            let replace = |old| new($element::from_le_bytes(old), value).to_le_bytes();
            $element::from_le_bytes(with(|m| m.atomic(address, site, replace)))
        }
    )*};
}

atomics! {
    global_add_u32, u32, u32::wrapping_add;
    global_add_i32, i32, i32::wrapping_add;
    global_add_u64, u64, u64::wrapping_add;
    global_add_f32, f32, |x, y| x + y;
    global_max_u32, u32, u32::max;
    shared_add_u32, u32, u32::wrapping_add;
    shared_add_i32, i32, i32::wrapping_add;
    shared_add_u64, u64, u64::wrapping_add;
    shared_add_f32, f32, |x, y| x + y;
    shared_max_u32, u32, u32::max;
}

#[track_caller]
pub fn global_add_acquire_release_u32(address: u64, value: u32) -> u32 {
    let old = global_add_u32(address, value);
    with(|m| m.clocks.acquire_release(m.current, address));
    old
}

#[track_caller]
pub fn global_cas_u32(address: u64, expected: u32, new: u32) -> u32 {
    let site = Location::caller();
    let replace = |old| {
        if old == expected.to_le_bytes() {
            new.to_le_bytes()
        } else {
            old
        }
    };
    u32::from_le_bytes(with(|m| m.atomic(address, site, replace)))
}

#[track_caller]
pub fn shared_cas_u32(address: u64, expected: u32, new: u32) -> u32 {
    global_cas_u32(address, expected, new)
}
