//! The order of launches: the emulation runs them one after the other.

pub fn release_next_grid() {}

pub fn wait_for_previous_grid() {}
