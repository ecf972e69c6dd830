//! One buffer of the emulated device: its bytes, and what is known of each element.

use std::ops::Range;

use super::clock::{Clocks, Stamp};
use super::shadow::{Access, Shadow};

/// What unwritten memory holds: as floats of any kind it is NaN.
const POISON: u8 = 0xff;

/// Bytes that are kept together. No access crosses a page: each is aligned to its size.
const PAGE: usize = 4096;

/// A buffer of device memory or an array of shared memory. Pages exist once they are touched, so
/// that a kernel's index arithmetic can be tested on buffers larger than the host's memory.
#[derive(Debug)]
pub struct Region {
    /// What messages call it.
    pub name: String,
    length: usize,
    /// Bytes of an element: histories are kept for whole elements.
    granule: usize,
    pages: Vec<Option<Box<Page>>>,
}

#[derive(Debug)]
struct Page {
    bytes: [u8; PAGE],
    written: Vec<bool>,
    in_flight: Vec<bool>,
    /// Who touched the elements in this launch.
    history: Option<Box<[Shadow]>>,
}

impl Page {
    fn new(granule: usize) -> Box<Self> {
        let elements = PAGE / granule;
        Box::new(Self {
            bytes: [POISON; PAGE],
            written: vec![false; elements],
            in_flight: vec![false; elements],
            history: None,
        })
    }
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
        let mut pages = Vec::new();
        pages.resize_with(length.div_ceil(PAGE), || None);
        Self {
            name,
            length,
            granule,
            pages,
        }
    }

    /// A region that holds these bytes.
    pub fn holding(name: String, bytes: &[u8], granule: usize) -> Self {
        let mut region = Self::new(name, bytes.len(), granule);
        for (page, bytes) in region.pages.iter_mut().zip(bytes.chunks(PAGE)) {
            let page = page.insert(Page::new(granule));
            page.bytes[..bytes.len()].copy_from_slice(bytes);
            page.written.fill(true);
        }
        region
    }

    /// Parts that the last launch touched: their first byte and what they hold.
    pub fn touched(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let pages = self.pages.iter().enumerate();
        pages.filter_map(|(i, page)| {
            let page = page.as_ref().filter(|page| page.history.is_some())?;
            let bytes = PAGE.min(self.length - i * PAGE);
            Some((i * PAGE, &page.bytes[..bytes]))
        })
    }

    /// Its size in bytes.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Sets bytes from outside a launch; those past the end are dropped.
    pub fn fill(&mut self, start: usize, bytes: &[u8]) {
        let count = bytes.len().min(self.length.saturating_sub(start));
        for (offset, &byte) in (start..).zip(&bytes[..count]) {
            let granule = self.granule;
            let page = self.page(offset);
            page.bytes[offset % PAGE] = byte;
            page.written[offset % PAGE / granule] = true;
        }
    }

    /// Forgets who touched it: what was done before a launch is ordered before it.
    pub fn start_launch(&mut self) {
        for page in self.pages.iter_mut().flatten() {
            page.history = None;
        }
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
        let elements = self.elements(range);
        let page = self.page(range.start);
        let count = page.written.len();
        let history = page
            .history
            .get_or_insert_with(|| vec![Shadow::default(); count].into_boxed_slice());
        for element in elements {
            if page.in_flight[element] {
                fault = fault.or(Some(Fault::CopyInFlight));
            }
            if access == Access::Write {
                page.written[element] = true;
            } else if !page.written[element] {
                fault = fault.or(Some(Fault::Uninitialised));
                page.written[element] = access == Access::Atomic;
            }
            if let Some((kind, earlier)) = history[element].touch(access, now, clocks) {
                fault = fault.or(Some(Fault::Race(kind, earlier)));
            }
        }
        fault
    }

    /// The last writes, in this launch, to the elements of a range.
    pub fn last_writes(&self, range: &Range<usize>) -> impl Iterator<Item = &Stamp> {
        let page = self.pages[range.start / PAGE].as_ref();
        let history = page.and_then(|page| page.history.as_ref());
        let elements = history.map(|history| &history[self.elements(range)]);
        elements
            .into_iter()
            .flatten()
            .filter_map(Shadow::last_write)
    }

    /// Says that an asynchronous copy is writing `range`, or has ended.
    pub fn set_in_flight(&mut self, range: &Range<usize>, in_flight: bool) {
        let elements = self.elements(range);
        self.page(range.start).in_flight[elements].fill(in_flight);
    }

    /// Copies out the bytes of a range that lies inside.
    pub fn load(&self, start: usize, bytes: &mut [u8]) {
        for (offset, byte) in (start..).zip(bytes) {
            let page = &self.pages[offset / PAGE];
            *byte = page
                .as_ref()
                .map_or(POISON, |page| page.bytes[offset % PAGE]);
        }
    }

    /// Sets the bytes of an access that lies inside.
    pub fn store(&mut self, start: usize, bytes: &[u8]) {
        let offset = start % PAGE;
        self.page(start).bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    fn page(&mut self, offset: usize) -> &mut Page {
        self.pages[offset / PAGE].get_or_insert_with(|| Page::new(self.granule))
    }

    /// The elements of an access, counted from the start of its page.
    fn elements(&self, range: &Range<usize>) -> Range<usize> {
        let start = range.start % PAGE;
        start / self.granule..(start + range.len()).div_ceil(self.granule)
    }
}
