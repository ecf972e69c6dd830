//! One buffer of the emulated device: its bytes, and what is known of each element.

use std::ops::Range;

use super::clock::{Clocks, Stamp};
use super::shadow::{Access, Shadow};

/// What unwritten memory holds: as floats of any kind it is NaN.
const POISON: u8 = 0xff;

/// Elements whose history is kept in one allocation, made when one of them is first touched.
const PAGE: usize = 256;

/// A buffer of device memory or an array of shared memory.
#[derive(Debug)]
pub struct Region {
    /// What messages call it.
    pub name: String,
    bytes: Vec<u8>,
    /// Bytes of an element: histories are kept for whole elements.
    granule: usize,
    written: Vec<bool>,
    in_flight: Vec<bool>,
    pages: Vec<Option<Box<[Shadow]>>>,
}

/// What is wrong with an access inside a region.
pub enum Fault {
    /// The element was never written.
    Uninitialised,
    /// An asynchronous copy is still writing it.
    CopyInFlight,
    /// It races with this earlier access.
    Race(Access, Stamp),
}

impl Region {
    /// A region that nothing has written.
    pub fn new(name: String, length: usize, granule: usize) -> Self {
        let elements = length.div_ceil(granule);
        Self {
            name,
            bytes: vec![POISON; length],
            granule,
            written: vec![false; elements],
            in_flight: vec![false; elements],
            pages: vec![None; elements.div_ceil(PAGE)],
        }
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Sets bytes from outside a launch; those past the end are dropped.
    pub fn fill(&mut self, start: usize, bytes: &[u8]) {
        let end = (start + bytes.len()).min(self.bytes.len());
        if start < end {
            self.bytes[start..end].copy_from_slice(&bytes[..end - start]);
            let elements = self.elements(&(start..end));
            self.written[elements].fill(true);
        }
    }

    /// Forgets who touched it: what was done before a launch is ordered before it.
    pub fn start_launch(&mut self) {
        self.pages.fill(None);
    }

    /// Records an access to `range`, which lies inside, and gives the first fault.
    pub fn touch(
        &mut self,
        range: &Range<usize>,
        access: Access,
        now: Stamp,
        clocks: &Clocks,
    ) -> Option<Fault> {
        let mut fault = None;
        for element in self.elements(range) {
            if self.in_flight[element] {
                fault = fault.or(Some(Fault::CopyInFlight));
            }
            if access == Access::Write {
                self.written[element] = true;
            } else if !self.written[element] {
                fault = fault.or(Some(Fault::Uninitialised));
                self.written[element] = access == Access::Atomic;
            }
            let page = self.pages[element / PAGE]
                .get_or_insert_with(|| vec![Shadow::default(); PAGE].into_boxed_slice());
            if let Some((kind, earlier)) = page[element % PAGE].touch(access, now, clocks) {
                fault = fault.or(Some(Fault::Race(kind, earlier)));
            }
        }
        fault
    }

    /// Says that an asynchronous copy is writing `range`, or has ended.
    pub fn set_in_flight(&mut self, range: &Range<usize>, in_flight: bool) {
        for element in self.elements(range) {
            self.in_flight[element] = in_flight;
        }
    }

    /// The bytes of a range that lies inside.
    pub fn get(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    /// Sets bytes of a range that lies inside.
    pub fn set(&mut self, start: usize, bytes: &[u8]) {
        self.bytes[start..start + bytes.len()].copy_from_slice(bytes);
    }

    fn elements(&self, range: &Range<usize>) -> Range<usize> {
        range.start / self.granule..range.end.div_ceil(self.granule)
    }
}
