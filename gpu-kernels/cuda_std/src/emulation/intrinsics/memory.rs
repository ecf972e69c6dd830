//! Checked loads and stores.

use std::panic::Location;
use std::{ptr, slice};

use crate::Element;
use crate::emulation::machine::with;

/// An emulated address.
pub type GlobalAddress = u64;

/// An emulated address.
pub type SharedAddress = u64;

/// Calls `f` with the bytes of an element.
pub fn with_bytes<T: Element, R>(element: T, f: impl FnOnce(&[u8]) -> R) -> R {
    // SAFETY: an `Element` has no padding, so that every byte of it is initialised.
    f(unsafe { slice::from_raw_parts(ptr::from_ref(&element).cast(), size_of::<T>()) })
}

/// The element whose bytes are given; there must be as many as it has.
pub fn from_bytes<T: Element>(bytes: &[u8]) -> T {
    assert_eq!(bytes.len(), size_of::<T>());
    // SAFETY: the bytes are there, and any bits are a value of an `Element`.
    unsafe { bytes.as_ptr().cast::<T>().read_unaligned() }
}

pub fn static_shared(
    place: (&'static str, u32, u32),
    bytes: usize,
    granule: usize,
) -> SharedAddress {
    with(|m| m.static_shared(place, bytes, granule))
}

pub fn dynamic_shared() -> SharedAddress {
    with(|m| m.dynamic_shared())
}

pub fn swizzled_shared() -> SharedAddress {
    dynamic_shared()
}

/// The address as the instructions count it that take tiles: from the start of shared memory.
pub fn shared_window_offset(address: SharedAddress) -> u32 {
    // Regions start at multiples of what the instructions can tell apart.
    address as u32
}

pub fn shared_offset(address: SharedAddress, bytes: u32) -> SharedAddress {
    // Offsets are counted in 32 bits on the device, so that a negative one is a large one.
    address.wrapping_add_signed(i64::from(bytes as i32))
}

pub fn global_from_address(address: u64) -> GlobalAddress {
    address
}

pub fn global_to_address(address: GlobalAddress) -> u64 {
    address
}

pub fn global_offset(address: GlobalAddress, bytes: usize) -> GlobalAddress {
    address.wrapping_add(bytes as u64)
}

#[track_caller]
pub fn global_read<T: Element>(address: GlobalAddress) -> T {
    read(address)
}

#[track_caller]
pub fn global_prefetch(address: GlobalAddress) {
    with(|m| m.prefetch(address, Location::caller()));
}

#[track_caller]
pub fn global_read_streaming<T: Element>(address: GlobalAddress) -> T {
    read(address)
}

#[track_caller]
pub fn global_write<T: Element>(address: GlobalAddress, value: T) {
    write(address, value);
}

#[track_caller]
pub fn shared_read<T: Element>(address: SharedAddress) -> T {
    read(address)
}

#[track_caller]
pub fn shared_write<T: Element>(address: SharedAddress, value: T) {
    write(address, value);
}

#[track_caller]
fn read<T: Element>(address: u64) -> T {
    let site = Location::caller();
    let mut bytes = [0; 16];
    let bytes = &mut bytes[..size_of::<T>()];
    with(|m| m.read(address, bytes, site));
    from_bytes(bytes)
}

#[track_caller]
fn write<T: Element>(address: u64, value: T) {
    let site = Location::caller();
    with_bytes(value, |bytes| with(|m| m.write(address, bytes, site)));
}
