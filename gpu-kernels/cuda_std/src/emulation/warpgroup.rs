//! Products of a warpgroup: the last thread to come multiplies for all.

use std::ops::Range;

use half::{bf16, f16};

use super::block;
use super::clock::LANES;
use super::finding::FindingKind;
use super::machine::{Machine, Site, with};
use super::memory::range_inside;
use super::rendezvous::State;
use super::tensor_map::swizzled;

/// Threads of a warpgroup.
pub const THREADS: usize = 128;

/// Rows of A.
const ROWS: usize = 64;

/// Columns of A and rows of B that one instruction takes.
const DEPTH: usize = 16;

/// Instructions for a tile.
const STEPS: usize = 4;

/// A thread's words of A, for each instruction.
pub type Left = [[u32; 4]; STEPS];

/// Sixteen elements of a row of A, or of a column of B.
type Strip = [f64; DEPTH];

/// What the threads of a warpgroup multiply together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Product {
    bf16: bool,
    /// The tile of A, where it is not in registers; then B lies across.
    a: Option<u64>,
    b: u64,
}

impl Product {
    pub fn of_tiles(bf16: bool, a: u64, b: u64) -> Self {
        let a = Some(a);
        Self { bf16, a, b }
    }

    pub fn of_registers(bf16: bool, b: u64) -> Self {
        Self { bf16, a: None, b }
    }

    fn widen(&self, bits: u16) -> f64 {
        match self.bf16 {
            true => bf16::from_bits(bits).to_f64(),
            false => f16::from_bits(bits).to_f64(),
        }
    }
}

/// What a thread brings to a product.
#[derive(Clone, Copy, Debug)]
struct Share {
    left: Left,
    /// Its sums. It waits until they are added to.
    sums: *mut [f32],
}

/// A product that some threads of a warpgroup have reached.
#[derive(Debug)]
pub struct Group {
    product: Product,
    site: Site,
    shares: [Option<Share>; THREADS],
}

/// The layout of a tile, as the instruction reads it from a descriptor.
struct Descriptor {
    start: u64,
    next_columns: u64,
    eight_rows: u64,
}

impl Descriptor {
    /// `None` where it is none of a tile with rows of 128 swizzled bytes.
    fn decode(bits: u64) -> Option<Self> {
        let field = |low: u32| (bits >> low & 0x3fff) << 4;
        let base_offset = bits >> 49 & 7;
        (bits >> 62 == 1 && base_offset == 0).then(|| Self {
            start: field(0),
            next_columns: field(16),
            eight_rows: field(32),
        })
    }

    /// Where eight elements of a row lie, counted from the start of shared memory.
    fn part(&self, row: usize, part: usize) -> u64 {
        let (group, row) = (row as u64 / 8, row as u64 % 8);
        let (tile, part) = (part as u64 / 8, part as u64 % 8);
        let rows = group * self.eight_rows + row * 128;
        swizzled(self.start + rows + tile * self.next_columns + part * 16)
    }
}

/// Takes part in a product.
pub fn multiply(product: Product, left: Left, sums: &mut [f32], site: Site) {
    let waits = with(|m| {
        let group = m.join_product(product, Share { left, sums }, site)?;
        m.multiply(&group);
        Some(())
    });
    if waits.is_none() {
        block::suspend();
    }
}

/// Starts a product of tiles, which are read as late as they may be: by [`end_running`].
pub fn start(product: Product, site: Site) {
    with(|m| {
        let thread = m.current as usize;
        m.running_products[thread] = Some((product, site));
    });
}

/// Takes part in the product that the thread has started.
pub fn end_running(sums: &mut [f32]) {
    let running = with(|m| m.running_products[m.current as usize].take());
    if let Some((product, site)) = running {
        multiply(product, Left::default(), sums, site);
    }
}

impl Machine {
    /// The running thread reaches a product. The last one gets the group; the others wait.
    fn join_product(&mut self, product: Product, share: Share, site: Site) -> Option<Group> {
        let thread = self.current as usize;
        let slot = self.products[thread / THREADS].get_or_insert(Group {
            product,
            site,
            shares: [None; THREADS],
        });
        let differs = slot.product != product || slot.site != site;
        slot.shares[thread % THREADS] = Some(share);
        let complete = slot.shares.iter().all(Option::is_some);
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
        let last = self.current;
        let first = last / THREADS as u32 * THREADS as u32;
        for step in 0..STEPS {
            let a = self.left(group, step, first);
            let b = self.right(group, step, first);
            for (thread, share) in group.shares.iter().enumerate() {
                let Some(share) = share else { continue };
                // SAFETY: the array is the thread's own, which waits or, as the last, runs this.
                let sums = unsafe { &mut *share.sums };
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

    /// The rows of A. Of a tile, each warp reads its own.
    fn left(&mut self, group: &Group, step: usize, first: u32) -> Vec<Strip> {
        if let Some(a) = group.product.a {
            let bits = a + 2 * step as u64;
            let own = |row| row / 16..row / 16 + 1;
            return self.rows(group, bits, [ROWS, DEPTH], own, first, |rows| {
                rows.into_iter().map(strip).collect()
            });
        }
        let mut tile = vec![[0.0; DEPTH]; ROWS];
        for (thread, share) in group.shares.iter().enumerate() {
            let words = share.map_or([0; 4], |share| share.left[step]);
            let (row, column) = place(thread, 0);
            for (index, word) in words.into_iter().enumerate() {
                let (row, column) = (row + index % 2 * 8, column + index / 2 * 8);
                tile[row][column] = group.product.widen(word as u16);
                tile[row][column + 1] = group.product.widen((word >> 16) as u16);
            }
        }
        tile
    }

    /// The columns of B, which every warp reads.
    fn right(&mut self, group: &Group, step: usize, first: u32) -> Vec<Strip> {
        let sums = group.shares[0].map_or(0, |share| share.sums.len());
        let columns = 2 * sums;
        let all = |_| 0..THREADS / LANES;
        if group.product.a.is_some() {
            let bits = group.product.b + 2 * step as u64;
            return self.rows(group, bits, [columns, DEPTH], all, first, |rows| {
                rows.into_iter().map(strip).collect()
            });
        }
        let bits = group.product.b + 128 * step as u64;
        self.rows(group, bits, [DEPTH, columns], all, first, |rows| {
            let column = |j: usize| std::array::from_fn(|i| rows[i].get(j).copied().unwrap_or(0.0));
            (0..columns).map(column).collect()
        })
    }

    /// What `shape` makes of rows of a tile, of `[rows, elements]`. Of each the warps read it that
    /// `readers` tells; their first lanes count as the readers.
    fn rows(
        &mut self,
        &Group { product, site, .. }: &Group,
        bits: u64,
        [rows, elements]: [usize; 2],
        readers: impl Fn(usize) -> Range<usize>,
        first: u32,
        shape: impl FnOnce(Vec<Vec<f64>>) -> Vec<Strip>,
    ) -> Vec<Strip> {
        let mut tile = vec![vec![0.0; elements]; rows];
        let Some(layout) = Descriptor::decode(bits) else {
            let message = format!("the descriptor {bits:#018x} is of no swizzled tile");
            self.report(FindingKind::Misaligned, message, Some(site));
            return shape(tile);
        };
        let base = self.dynamic_shared();
        for (row, values) in tile.iter_mut().enumerate() {
            for (part, values) in values.chunks_exact_mut(8).enumerate() {
                let mut bytes = [0; 16];
                for warp in readers(row) {
                    self.current = first + (warp * LANES) as u32;
                    self.read(base + layout.part(row, part), &mut bytes, site);
                }
                self.check_fence(base + layout.part(row, part), site);
                for (value, pair) in values.iter_mut().zip(bytes.chunks_exact(2)) {
                    *value = product.widen(u16::from_le_bytes([pair[0], pair[1]]));
                }
            }
        }
        shape(tile)
    }
}

impl Machine {
    /// Reports what a product reads of a thread's writes that no fence has made visible to it.
    fn check_fence(&mut self, address: u64, site: Site) {
        let Some((region, offset)) = self.memory.find(address) else {
            return;
        };
        let Some(range) = range_inside(region, offset, 16) else {
            return;
        };
        let clocks = &self.clocks;
        let unfenced = region.last_writes(&range).find(|w| !clocks.is_fenced(w));
        if let Some(write) = unfenced {
            let message = format!(
                "a product reads what thread {} wrote at {} without a fence",
                write.thread, write.site
            );
            self.report(FindingKind::Race, message, Some(site));
        }
    }
}

/// A row of sixteen elements.
fn strip(row: Vec<f64>) -> Strip {
    std::array::from_fn(|i| row.get(i).copied().unwrap_or(0.0))
}

/// Row and column of a thread's sum, as [`crate::wgmma`] says.
fn place(thread: usize, index: usize) -> (usize, usize) {
    let (warp, lane) = (thread / LANES, thread % LANES);
    let row = 16 * warp + lane / 4 + index / 2 % 2 * 8;
    (row, index / 4 * 8 + lane % 4 * 2 + index % 2)
}
