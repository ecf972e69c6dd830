//! Asynchronous copies: the bytes arrive when the thread waits for them.

use std::collections::VecDeque;
use std::panic::Location;

use crate::emulation::FindingKind;
use crate::emulation::machine::{Machine, Site, with};
use crate::emulation::memory::range_inside;
use crate::emulation::shadow::Access;

/// A copy that was started.
#[derive(Debug)]
struct Copy {
    destination: u64,
    bytes: [u8; 16],
    site: Site,
}

/// The copies of a thread that have not arrived.
#[derive(Debug, Default)]
pub struct Copies {
    open: Vec<Copy>,
    groups: VecDeque<Vec<Copy>>,
}

#[track_caller]
pub fn async_copy_16(destination: u64, source: u64, valid: u32) {
    let site = Location::caller();
    with(|m| m.start_copy(destination, source, valid, site));
}

pub fn async_commit() {
    with(|m| {
        let copies = &mut m.copies[m.current as usize];
        let group = std::mem::take(&mut copies.open);
        copies.groups.push_back(group);
    });
}

pub fn async_wait<const PENDING: u32>() {
    with(|m| m.finish_copies(PENDING as usize));
}

impl Machine {
    fn start_copy(&mut self, destination: u64, source: u64, valid: u32, site: Site) {
        let mut bytes = [0; 16];
        // Reading two bytes at a time allows any number of valid elements.
        for (index, pair) in bytes[..valid as usize].chunks_mut(2).enumerate() {
            self.read(source + 2 * index as u64, pair, site);
        }
        if valid > 0 {
            // The hardware wants both addresses aligned, whatever is valid.
            self.check_alignment(source, site);
        }
        self.access(destination, 16, Access::Write, site, |region, range| {
            region.set_in_flight(&range, true);
        });
        self.copies[self.current as usize].open.push(Copy {
            destination,
            bytes,
            site,
        });
    }

    fn check_alignment(&mut self, source: u64, site: Site) {
        if !source.is_multiple_of(16) {
            let message = format!("asynchronous copy from {source:#x}");
            self.report(FindingKind::Misaligned, message, Some(site));
        }
    }

    /// Lets all but the latest `pending` groups of the running thread arrive.
    fn finish_copies(&mut self, pending: usize) {
        let groups = &mut self.copies[self.current as usize].groups;
        let arrived = groups.len().saturating_sub(pending);
        for copy in groups.drain(..arrived).flatten().collect::<Vec<_>>() {
            if let Some((region, offset)) = self.memory.find(copy.destination) {
                let range = range_inside(region, offset, 16);
                range
                    .iter()
                    .for_each(|range| region.set_in_flight(range, false));
            }
            self.write(copy.destination, &copy.bytes, copy.site);
        }
    }
}
