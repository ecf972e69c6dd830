//! Atomic operations: relaxed, at device scope.

use core::arch::asm;

use super::{GlobalAddress, SharedAddress};

macro_rules! atomic {
    ($name:ident, $space:literal, $address:ty, $register:ident, $operation:literal, $element:ty) => {
        #[inline(always)]
        pub fn $name(address: $address, value: $element) -> $element {
            let old: $element;
            // SAFETY: the launch promises that the address holds such an element.
            unsafe {
                asm!(
                    concat!("atom.relaxed.gpu.", $space, ".", $operation, " {}, [{}], {};"),
                    out(reg32) old, in($register) address, in(reg32) value,
                    options(nostack),
                );
            }
            old
        }
    };
}

atomic!(
    global_add_u32,
    "global",
    GlobalAddress,
    reg64,
    "add.u32",
    u32
);
atomic!(
    global_add_i32,
    "global",
    GlobalAddress,
    reg64,
    "add.s32",
    i32
);
atomic!(
    global_add_f32,
    "global",
    GlobalAddress,
    reg64,
    "add.f32",
    f32
);
atomic!(
    global_max_u32,
    "global",
    GlobalAddress,
    reg64,
    "max.u32",
    u32
);
atomic!(
    shared_add_u32,
    "shared",
    SharedAddress,
    reg32,
    "add.u32",
    u32
);
atomic!(
    shared_add_i32,
    "shared",
    SharedAddress,
    reg32,
    "add.s32",
    i32
);
atomic!(
    shared_add_f32,
    "shared",
    SharedAddress,
    reg32,
    "add.f32",
    f32
);
atomic!(
    shared_max_u32,
    "shared",
    SharedAddress,
    reg32,
    "max.u32",
    u32
);

macro_rules! compare_and_swap {
    ($name:ident, $space:literal, $address:ty, $register:ident) => {
        #[inline(always)]
        pub fn $name(address: $address, expected: u32, new: u32) -> u32 {
            let old: u32;
            // SAFETY: the launch promises that the address holds a `u32`.
            unsafe {
                asm!(
                    concat!("atom.relaxed.gpu.", $space, ".cas.b32 {}, [{}], {}, {};"),
                    out(reg32) old, in($register) address, in(reg32) expected, in(reg32) new,
                    options(nostack),
                );
            }
            old
        }
    };
}

compare_and_swap!(global_cas_u32, "global", GlobalAddress, reg64);
compare_and_swap!(shared_cas_u32, "shared", SharedAddress, reg32);
