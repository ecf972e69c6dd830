//! Copies by a unit of its own.

use std::panic::Location;

use crate::emulation::FindingKind;
use crate::emulation::machine::with;
use crate::emulation::tensor_map::{self, TensorLayout};

/// The map itself.
pub type TensorMapHandle = [u8; tensor_map::BYTES];

#[track_caller]
pub fn bulk_copy(destination: u64, source: u64, bytes: u32, barrier: u64, _streaming: bool) {
    let site = Location::caller();
    with(|m| {
        if [destination, source, u64::from(bytes)]
            .iter()
            .any(|number| !number.is_multiple_of(16))
        {
            let message = format!("a copy of {bytes} bytes from {source:#x} to {destination:#x}");
            return m.report(FindingKind::Misaligned, message, Some(site));
        }
        let offsets = (0..u64::from(bytes)).step_by(16);
        let units = offsets.map(|offset| (destination + offset, source + offset, 16));
        m.start_bulk_copy(units, barrier, site);
    });
}

#[track_caller]
pub fn tensor_copy(
    destination: u64,
    map: &TensorMapHandle,
    place: [u32; 2],
    barrier: u64,
    _streaming: bool,
) {
    let site = Location::caller();
    with(|m| {
        let Some(layout) = TensorLayout::decode(map) else {
            let message = "a map that the emulation has not made".into();
            return m.report(FindingKind::Launch, message, Some(site));
        };
        if !tensor_map::is_aligned(destination) {
            let message = format!("a box copied to {destination:#x}");
            return m.report(FindingKind::Misaligned, message, Some(site));
        }
        m.start_bulk_copy(layout.parts(destination, place), barrier, site);
    });
}

pub fn prefetch_tensor_map(_: &TensorMapHandle) {}
