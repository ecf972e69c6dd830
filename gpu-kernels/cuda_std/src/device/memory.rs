//! Loads and stores.

use core::arch::{asm, global_asm};
use core::mem::transmute_copy;

use crate::Element;

/// A generic address; the compiler infers from kernel parameters that it is global.
pub type GlobalAddress = *mut u8;

/// An address in the shared window.
pub type SharedAddress = u32;

global_asm!(".extern .shared .align 128 .b8 dynamic_shared[];");
global_asm!(".extern .shared .align 1024 .b8 swizzled_shared[];");

#[inline(always)]
pub fn dynamic_shared() -> SharedAddress {
    let address: u32;
    // SAFETY: reads the address of a symbol declared above.
    unsafe {
        asm!("mov.u32 {}, dynamic_shared;", out(reg32) address, options(pure, nomem, nostack));
    }
    address
}

#[inline(always)]
pub fn swizzled_shared() -> SharedAddress {
    let address: u32;
    // SAFETY: as above.
    unsafe {
        asm!("mov.u32 {}, swizzled_shared;", out(reg32) address, options(pure, nomem, nostack));
    }
    address
}

/// The address as the instructions count it that take tiles.
#[inline(always)]
pub fn shared_window_offset(address: SharedAddress) -> u32 {
    address
}

#[inline(always)]
pub fn shared_offset(address: SharedAddress, bytes: u32) -> SharedAddress {
    address.wrapping_add(bytes)
}

#[inline(always)]
pub fn global_from_address(address: u64) -> GlobalAddress {
    address as GlobalAddress
}

#[inline(always)]
pub fn global_to_address(address: GlobalAddress) -> u64 {
    address as u64
}

#[inline(always)]
pub fn global_offset(address: GlobalAddress, bytes: usize) -> GlobalAddress {
    address.wrapping_add(bytes)
}

#[inline(always)]
pub fn global_read<T: Element>(address: GlobalAddress) -> T {
    // SAFETY: the launch promises that the address holds a `T`.
    unsafe { address.cast::<T>().read() }
}

#[inline(always)]
pub fn global_prefetch(address: GlobalAddress) {
    // SAFETY: it changes nothing but what the cache holds; the address is one that may be read.
    unsafe { asm!("prefetch.global.L2 [{}];", in(reg64) address, options(nostack)) };
}

#[inline(always)]
pub fn global_read_streaming<T: Element>(address: GlobalAddress) -> T {
    if size_of::<T>() != 16 {
        return global_read(address);
    }
    let mut words = [0u32; 4];
    // Not `.nc`, which could miss what a launch wrote that this one waited for.
    // SAFETY: the launch promises that the address holds a `T`; nothing writes it meanwhile.
    unsafe {
        asm!(
            "ld.global.L1::no_allocate.v4.b32 {{{}, {}, {}, {}}}, [{}];",
            out(reg32) words[0], out(reg32) words[1], out(reg32) words[2], out(reg32) words[3],
            in(reg64) address,
            options(pure, readonly, nostack),
        );
        transmute_copy(&words)
    }
}

#[inline(always)]
pub fn global_write<T: Element>(address: GlobalAddress, value: T) {
    // SAFETY: the launch promises that the address may hold a `T`.
    unsafe { address.cast::<T>().write(value) }
}

#[inline(always)]
pub fn shared_read<T: Element>(address: SharedAddress) -> T {
    // SAFETY: the launch promises that the address holds a `T`; each arm's bits have the size of
    // `T`, and any bits are a value of it.
    unsafe {
        match size_of::<T>() {
            1 => {
                let bits: u16;
                asm!("ld.shared.u8 {}, [{}];", out(reg16) bits, in(reg32) address, options(readonly, nostack));
                transmute_copy(&(bits as u8))
            }
            2 => {
                let bits: u16;
                asm!("ld.shared.b16 {}, [{}];", out(reg16) bits, in(reg32) address, options(readonly, nostack));
                transmute_copy(&bits)
            }
            4 => {
                let bits: u32;
                asm!("ld.shared.b32 {}, [{}];", out(reg32) bits, in(reg32) address, options(readonly, nostack));
                transmute_copy(&bits)
            }
            8 => {
                let bits: u64;
                asm!("ld.shared.b64 {}, [{}];", out(reg64) bits, in(reg32) address, options(readonly, nostack));
                transmute_copy(&bits)
            }
            _ => {
                let mut bits = [0u32; 4];
                asm!(
                    "ld.shared.v4.b32 {{{}, {}, {}, {}}}, [{}];",
                    out(reg32) bits[0], out(reg32) bits[1], out(reg32) bits[2], out(reg32) bits[3],
                    in(reg32) address,
                    options(readonly, nostack),
                );
                transmute_copy(&bits)
            }
        }
    }
}

#[inline(always)]
pub fn shared_write<T: Element>(address: SharedAddress, value: T) {
    // SAFETY: the launch promises that the address may hold a `T`; each arm stores its bits.
    unsafe {
        match size_of::<T>() {
            1 => {
                let bits: u8 = transmute_copy(&value);
                asm!("st.shared.u8 [{}], {};", in(reg32) address, in(reg16) u16::from(bits), options(nostack));
            }
            2 => {
                let bits: u16 = transmute_copy(&value);
                asm!("st.shared.b16 [{}], {};", in(reg32) address, in(reg16) bits, options(nostack));
            }
            4 => {
                let bits: u32 = transmute_copy(&value);
                asm!("st.shared.b32 [{}], {};", in(reg32) address, in(reg32) bits, options(nostack));
            }
            8 => {
                let bits: u64 = transmute_copy(&value);
                asm!("st.shared.b64 [{}], {};", in(reg32) address, in(reg64) bits, options(nostack));
            }
            _ => {
                let bits: [u32; 4] = transmute_copy(&value);
                asm!(
                    "st.shared.v4.b32 [{}], {{{}, {}, {}, {}}};",
                    in(reg32) address,
                    in(reg32) bits[0], in(reg32) bits[1], in(reg32) bits[2], in(reg32) bits[3],
                    options(nostack),
                );
            }
        }
    }
}
