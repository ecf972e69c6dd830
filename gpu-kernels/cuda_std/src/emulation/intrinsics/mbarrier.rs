//! Barriers that count arrivals and bytes.

use std::panic::Location;

use crate::emulation::machine::with;
use crate::emulation::mbarrier;

#[track_caller]
pub fn mbarrier_init(address: u64, arrivals: u32) {
    let site = Location::caller();
    with(|m| m.init_barrier(address, arrivals, site));
}

pub fn fence_initialised() {
    with(|m| m.fence_barriers());
}

#[track_caller]
pub fn mbarrier_arrive(address: u64) {
    mbarrier_arrive_expecting(address, 0);
}

#[track_caller]
pub fn mbarrier_arrive_expecting(address: u64, bytes: u32) {
    let site = Location::caller();
    with(|m| m.arrive(address, bytes, site));
}

#[track_caller]
pub fn mbarrier_wait(address: u64, parity: u32) {
    mbarrier::wait(address, parity, Location::caller());
}
