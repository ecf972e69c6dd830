//! Atomic operations at device scope.

use core::arch::asm;

use super::{GlobalAddress, SharedAddress};

macro_rules! atomics {
    ($($name:ident: $order:literal $space:literal $address:ident $register:ident $operation:literal $value:ident $element:ident;)*) => {$(
        #[inline(always)]
        pub fn $name(address: $address, value: $element) -> $element {
            let old: $element;
            // SAFETY: the launch promises that the address holds such an element.
            unsafe {
                asm!(
                    concat!("atom.", $order, ".gpu.", $space, ".", $operation, " {}, [{}], {};"),
                    out($value) old, in($register) address, in($value) value,
                    options(nostack),
                );
            }
            old
        }
    )*};
}

atomics! {
    global_add_u32: "relaxed" "global" GlobalAddress reg64 "add.u32" reg32 u32;
    global_add_i32: "relaxed" "global" GlobalAddress reg64 "add.s32" reg32 i32;
    global_add_u64: "relaxed" "global" GlobalAddress reg64 "add.u64" reg64 u64;
    global_add_f32: "relaxed" "global" GlobalAddress reg64 "add.f32" reg32 f32;
    global_max_u32: "relaxed" "global" GlobalAddress reg64 "max.u32" reg32 u32;
    shared_add_u32: "relaxed" "shared" SharedAddress reg32 "add.u32" reg32 u32;
    shared_add_i32: "relaxed" "shared" SharedAddress reg32 "add.s32" reg32 i32;
    shared_add_u64: "relaxed" "shared" SharedAddress reg32 "add.u64" reg64 u64;
    shared_add_f32: "relaxed" "shared" SharedAddress reg32 "add.f32" reg32 f32;
    shared_max_u32: "relaxed" "shared" SharedAddress reg32 "max.u32" reg32 u32;
    global_add_acquire_release_u32: "acq_rel" "global" GlobalAddress reg64 "add.u32" reg32 u32;
}

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
