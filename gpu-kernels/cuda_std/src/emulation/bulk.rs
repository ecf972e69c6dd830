//! Copies to shared memory by a unit of its own: they arrive as late as they can.

use std::collections::VecDeque;

use super::finding::FindingKind;
use super::machine::{Machine, Site};
use super::memory::range_inside;
use super::release::Known;
use super::shadow::Access;

/// Bytes that a copy moves at once.
const UNIT: usize = 16;

/// A copy that was started.
#[derive(Debug)]
pub struct Copy {
    /// Where each unit goes, and its bytes.
    units: Vec<(u64, [u8; UNIT])>,
    barrier: u64,
    /// Publishes the writes.
    known: Known,
    site: Site,
}

/// The copies under way.
#[derive(Debug, Default)]
pub struct Copies(VecDeque<Copy>);

impl Machine {
    /// Starts a copy of units: of each the destination, the source and how many of its bytes are
    /// valid; the others become zero.
    pub fn start_bulk_copy(
        &mut self,
        units: impl Iterator<Item = (u64, u64, usize)>,
        barrier: u64,
        site: Site,
    ) {
        let units = units
            .map(|(destination, source, valid)| {
                let bytes = self.read_unit(source, valid, site);
                self.access(destination, UNIT, Access::Write, site, |region, range| {
                    region.set_in_flight(&range, true);
                });
                (destination, bytes)
            })
            .collect();
        // What a copy writes needs no fence.
        self.clocks.fence(self.current);
        let mut known = Known::default();
        self.clocks.release(self.current, &mut known);
        let copy = Copy {
            units,
            barrier,
            known,
            site,
        };
        self.bulk_copies.0.push_back(copy);
    }

    fn read_unit(&mut self, source: u64, valid: usize, site: Site) -> [u8; UNIT] {
        let mut bytes = [0; UNIT];
        if valid == UNIT {
            self.read(source, &mut bytes, site);
        } else {
            // Elements of two bytes.
            for (index, pair) in bytes[..valid].chunks_mut(2).enumerate() {
                self.read(source + 2 * index as u64, pair, site);
            }
        }
        bytes
    }

    /// Lets the oldest copy arrive; `false` where there is none.
    pub fn finish_bulk_copy(&mut self) -> bool {
        let Some(copy) = self.bulk_copies.0.pop_front() else {
            return false;
        };
        for (destination, bytes) in &copy.units {
            let Some((region, offset)) = self.memory.find(*destination) else {
                continue;
            };
            if let Some(range) = range_inside(region, offset, UNIT) {
                region.set_in_flight(&range, false);
                region.store(range.start, bytes);
            }
        }
        let bytes = copy.units.len() * UNIT;
        self.complete_bytes(copy.barrier, bytes, &copy.known, copy.site);
        true
    }

    /// Forgets the copies that a block left behind, which is a fault.
    pub fn end_bulk_copies(&mut self) {
        if let Some(copy) = self.bulk_copies.0.front() {
            let (site, count) = (copy.site, self.bulk_copies.0.len());
            self.bulk_copies.0.clear();
            let message = format!("the block has ended, and {count} copies have not arrived");
            self.report(FindingKind::CopyInFlight, message, Some(site));
        }
    }
}
