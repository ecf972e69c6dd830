//! Products of a warpgroup: the last thread to come multiplies for all.

use std::ops::Range;

use half::{bf16, f16};

use super::block;
use super::clock::LANES;
use super::finding::FindingKind;
use super::machine::{Machine, Site, with};
use super::rendezvous::State;
use super::tensor_map::swizzled;

/// Threads of a warpgroup.
pub const THREADS: usize = 128;

/// Rows of A.
const ROWS: usize = 64;

/// Columns of A and B that one instruction takes.
const DEPTH: usize = 16;

/// Instructions for a tile.
const STEPS: u64 = 4;

/// What the threads of a warpgroup multiply together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Product {
    pub bf16: bool,
    pub columns: usize,
    pub a: u64,
    pub b: u64,
}

/// A product that some threads of a warpgroup have reached.
#[derive(Debug)]
pub struct Group {
    product: Product,
    site: Site,
    /// The sums of each thread that has come; it waits until they are added to.
    sums: [Option<*mut [f32]>; THREADS],
}

/// The layout of a tile, as the instruction reads it from a descriptor.
struct Descriptor {
    start: u64,
    eight_rows: u64,
}

impl Descriptor {
    /// `None` where it is none of a tile with rows of 128 swizzled bytes.
    fn decode(bits: u64) -> Option<Self> {
        let field = |low: u32| (bits >> low & 0x3fff) << 4;
        let base_offset = bits >> 49 & 7;
        (bits >> 62 == 1 && base_offset == 0).then(|| Self {
            start: field(0),
            eight_rows: field(32),
        })
    }

    /// Where eight elements of a row lie, counted from the start of shared memory.
    fn part(&self, row: usize, part: usize) -> u64 {
        let (group, row) = (row as u64 / 8, row as u64 % 8);
        swizzled(self.start + group * self.eight_rows + row * 128 + part as u64 * 16)
    }
}

/// Takes part in a product.
pub fn multiply(product: Product, sums: &mut [f32], site: Site) {
    let waits = with(|m| {
        let group = m.join_product(product, sums, site)?;
        m.multiply(&group);
        Some(())
    });
    if waits.is_none() {
        block::suspend();
    }
}

impl Machine {
    /// The running thread reaches a product. The last one gets the group; the others wait.
    fn join_product(&mut self, product: Product, sums: &mut [f32], site: Site) -> Option<Group> {
        let thread = self.current as usize;
        let slot = self.products[thread / THREADS].get_or_insert_with(|| Group {
            product,
            site,
            sums: [None; THREADS],
        });
        let differs = slot.product != product || slot.site != site;
        slot.sums[thread % THREADS] = Some(sums);
        let complete = slot.sums.iter().all(Option::is_some);
        let message = format!("{product:?}, where others have {:?}", slot.product);
        if differs {
            self.report(FindingKind::DivergentBarrier, message, Some(site));
        }
        if complete {
            return self.products[thread / THREADS].take();
        }
        self.rendezvous.states[thread] = State::Product(site);
        None
    }

    fn multiply(&mut self, group: &Group) {
        let Product { columns, a, b, .. } = group.product;
        let last = self.current;
        let first = last / THREADS as u32 * THREADS as u32;
        let mut totals = group.sums.map(|sums| {
            sums.map_or(&mut [][..], |sums| {
                // SAFETY: the arrays are the threads' own, which wait or, as the last, run this.
                unsafe { &mut *sums }
            })
        });
        for step in 0..STEPS {
            let own_rows = |row| row / 16..row / 16 + 1;
            let a = self.tile(a + 2 * step, ROWS, own_rows, group, first);
            let b = self.tile(b + 2 * step, columns, |_| 0..THREADS / LANES, group, first);
            for (thread, sums) in totals.iter_mut().enumerate() {
                for (index, sum) in sums.iter_mut().enumerate() {
                    let (row, column) = place(thread, index);
                    let products = a[row].iter().zip(&b[column]);
                    let total: f64 = products.map(|(x, y)| x * y).sum();
                    *sum = (f64::from(*sum) + total) as f32;
                }
            }
        }
        self.current = last;
        let others = (first..first + THREADS as u32).filter(|&thread| thread != last);
        self.rendezvous.release(others);
    }

    /// 16 columns of a tile, a row of which the warps that `readers` tells read: their first lanes
    /// count as the readers.
    fn tile(
        &mut self,
        bits: u64,
        rows: usize,
        readers: impl Fn(usize) -> Range<usize>,
        &Group { product, site, .. }: &Group,
        first: u32,
    ) -> Vec<[f64; DEPTH]> {
        let mut tile = vec![[0.0; DEPTH]; rows];
        let Some(layout) = Descriptor::decode(bits) else {
            let message = format!("the descriptor {bits:#018x} is of no swizzled tile");
            self.report(FindingKind::Misaligned, message, Some(site));
            return tile;
        };
        let base = self.dynamic_shared();
        let widen = |bits| match product.bf16 {
            true => bf16::from_bits(bits).to_f64(),
            false => f16::from_bits(bits).to_f64(),
        };
        for (row, values) in tile.iter_mut().enumerate() {
            for (part, values) in values.chunks_exact_mut(8).enumerate() {
                let mut bytes = [0; 16];
                for warp in readers(row) {
                    self.current = first + (warp * LANES) as u32;
                    self.read(base + layout.part(row, part), &mut bytes, site);
                }
                for (value, pair) in values.iter_mut().zip(bytes.chunks_exact(2)) {
                    *value = widen(u16::from_le_bytes([pair[0], pair[1]]));
                }
            }
        }
        tile
    }
}

/// Row and column of a thread's sum, as [`crate::wgmma`] says.
fn place(thread: usize, index: usize) -> (usize, usize) {
    let (warp, lane) = (thread / LANES, thread % LANES);
    let row = 16 * warp + lane / 4 + index / 2 % 2 * 8;
    (row, index / 4 * 8 + lane % 4 * 2 + index % 2)
}
