//! The address space: regions far apart, each with its own number.

use std::collections::BTreeMap;
use std::ops::Range;

use super::region::Region;

/// Bits of an address that count bytes inside a region. The region starts in the middle of them, so
/// that wrong offsets of either sign stay recognisable.
const OFFSET_BITS: u32 = 40;
const START: u64 = 1 << (OFFSET_BITS - 1);

/// The bit that tells shared memory from device memory.
const SHARED: u64 = 1 << 62;

/// The regions of a device.
#[derive(Debug, Default)]
pub struct Memory {
    global: Vec<Region>,
    /// Regions whose addresses someone else chose.
    mapped: BTreeMap<u64, Region>,
    shared: Vec<Region>,
}

impl Memory {
    /// Adds a region of device memory and gives its address.
    pub fn add_global(&mut self, region: Region) -> u64 {
        self.global.push(region);
        address(self.global.len())
    }

    /// Adds a region of device memory at an address. Where there is one of these, those without
    /// an address of their own are out of reach.
    pub fn map(&mut self, address: u64, region: Region) {
        self.mapped.insert(address, region);
    }

    /// The regions that were mapped, by address.
    pub fn mapped(&self) -> impl Iterator<Item = (u64, &Region)> {
        self.mapped
            .iter()
            .map(|(&address, region)| (address, region))
    }

    /// Adds an array of shared memory and gives its address.
    pub fn add_shared(&mut self, region: Region) -> u64 {
        self.shared.push(region);
        address(self.shared.len()) | SHARED
    }

    /// Forgets who touched device memory.
    pub fn start_launch(&mut self) {
        let regions = self.global.iter_mut().chain(self.mapped.values_mut());
        regions.for_each(Region::start_launch);
    }

    /// Drops the shared memory of the last block.
    pub fn start_block(&mut self) {
        self.shared.clear();
    }

    /// The region that an address belongs to, and the offset from its start, which may lie outside
    /// it.
    pub fn find(&mut self, address: u64) -> Option<(&mut Region, i64)> {
        if address & SHARED == 0 && !self.mapped.is_empty() {
            let (base, region) = self.mapped.range_mut(..=address).next_back()?;
            return Some((region, (address - base) as i64));
        }
        let regions = if address & SHARED == 0 {
            &mut self.global
        } else {
            &mut self.shared
        };
        let number = (address & !SHARED) >> OFFSET_BITS;
        let region = regions.get_mut((number as usize).checked_sub(1)?)?;
        let offset = address & ((1 << OFFSET_BITS) - 1);
        Some((region, offset as i64 - START as i64))
    }
}

/// The part of a region that an access touches, where all of it lies inside.
pub fn range_inside(region: &Region, offset: i64, size: usize) -> Option<Range<usize>> {
    let start = usize::try_from(offset).ok()?;
    let end = start.checked_add(size)?;
    (end <= region.length()).then_some(start..end)
}

fn address(number: usize) -> u64 {
    (number as u64) << OFFSET_BITS | START
}
