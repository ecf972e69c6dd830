//! Where the running thread stands, and the barrier of its block.

use std::panic::Location;

use crate::emulation::block;
use crate::emulation::machine::{Machine, with};
use crate::emulation::rendezvous::State;

macro_rules! indices {
    ($($name:ident => $axis:literal of $value:expr),* $(,)?) => {$(
        pub fn $name() -> u32 {
            let value: fn(&Machine) -> [u32; 3] = $value;
            with(|m| value(m)[$axis])
        }
    )*};
}

indices! {
    thread_idx_x => 0 of thread_index,
    thread_idx_y => 1 of thread_index,
    thread_idx_z => 2 of thread_index,
    block_idx_x => 0 of |m| m.block,
    block_idx_y => 1 of |m| m.block,
    block_idx_z => 2 of |m| m.block,
    block_dim_x => 0 of |m| m.config.block,
    block_dim_y => 1 of |m| m.config.block,
    block_dim_z => 2 of |m| m.config.block,
    grid_dim_x => 0 of |m| m.config.grid,
    grid_dim_y => 1 of |m| m.config.grid,
    grid_dim_z => 2 of |m| m.config.grid,
}

fn thread_index(machine: &Machine) -> [u32; 3] {
    let [columns, rows, _] = machine.config.block;
    let thread = machine.current;
    [
        thread % columns,
        thread / columns % rows,
        thread / columns / rows,
    ]
}

#[track_caller]
pub fn sync_threads() {
    let site = Location::caller();
    with(|m| m.rendezvous.states[m.current as usize] = State::Barrier(site));
    block::suspend();
}
