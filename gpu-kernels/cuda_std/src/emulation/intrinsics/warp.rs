//! Shuffles, votes and the warp's barrier.

use std::panic::Location;

use crate::emulation::clock::LANES;
use crate::emulation::collective::together;
use crate::emulation::machine::with;
use crate::emulation::rendezvous::Operation;

const LAST_LANE: u32 = LANES as u32 - 1;

#[track_caller]
pub fn sync_warp(mask: u32) {
    together(Operation::Sync, mask, [0; 10], Location::caller());
}

#[track_caller]
pub fn ballot(mask: u32, predicate: bool) -> u32 {
    let mut payload = [0; 10];
    payload[0] = u32::from(predicate);
    together(Operation::Ballot, mask, payload, Location::caller())[0]
}

#[track_caller]
pub fn shuffle_xor(mask: u32, value: u32, lane_mask: u32) -> u32 {
    shuffle_idx(mask, value, lane() ^ lane_mask)
}

#[track_caller]
pub fn shuffle_down(mask: u32, value: u32, delta: u32) -> u32 {
    let source = lane().saturating_add(delta);
    shuffle_idx(
        mask,
        value,
        if source > LAST_LANE { lane() } else { source },
    )
}

#[track_caller]
pub fn shuffle_up(mask: u32, value: u32, delta: u32) -> u32 {
    shuffle_idx(mask, value, lane().checked_sub(delta).unwrap_or(lane()))
}

#[track_caller]
pub fn shuffle_idx(mask: u32, value: u32, source: u32) -> u32 {
    let mut payload = [0; 10];
    payload[0] = value;
    payload[1] = source;
    together(Operation::Shuffle, mask, payload, Location::caller())[0]
}

fn lane() -> u32 {
    with(|m| m.current) % LANES as u32
}
