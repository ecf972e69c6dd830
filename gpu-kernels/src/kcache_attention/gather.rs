//! The weighted sum of the selected rows of V, from wherever each of them lies.
//!
//! Rows are taken in batches: addresses and weights of a batch are found at once, then its rows
//! stream through a ring of tiles in shared memory, most of the ring under way at any time. A row
//! fetched from the host goes from there into its slot as well.

use core::marker::PhantomData;

use cuda_std::{
    Element, Float16, Global, GlobalMut, Shared, U32x2, U32x4, async_copy, math, thread, warp,
};

use super::attend::Pair;
use super::hot_rows::{FETCHED, NOT_HOT};
use super::scores::Weights;
use super::select::Range;
use super::{THREADS, WARPS};
use crate::KV_BLOCK;
use crate::decode_scores::MAX_GROUP;
use crate::tile::{LANE_WIDTH, Tile, stride};

/// Rows whose addresses and weights are found at once.
const BATCH: u32 = 2 * THREADS;

/// Rows of a tile.
const ROWS: u32 = 16;

/// Tiles of the ring.
const fn tiles(dim: u32) -> u32 {
    if dim > 128 { 4 } else { 8 }
}

/// Bytes of shared memory for heads of `dim` elements.
pub const fn shared_bytes(dim: u32) -> u32 {
    let places = 2 * BATCH * size_of::<u64>() as u32;
    places + (tiles(dim) * ROWS * stride(dim) + 2 * MAX_GROUP * stride(BATCH)) * 2
}

/// Where the rows of V of one KV head of one sequence are.
pub struct Sources<T> {
    /// The selected rows between sinks and window, with their slots.
    pub rows: GlobalMut<U32x2>,
    /// The range that they were selected from.
    pub range: Range,
    /// How many they are.
    pub chosen: u32,
    /// Rows that the first positions have among the near rows, whether there are so many or not.
    pub sinks: u32,
    /// Near rows after these, a ring of the last positions.
    pub window: u32,
    /// The near rows.
    pub near: Global<T>,
    /// The hot rows.
    pub hot: GlobalMut<T>,
    /// Blocks of V.
    pub table: Global<u64>,
}

impl<T: Float16> Sources<T> {
    /// Rows in all.
    #[inline(always)]
    pub fn count(&self, length: u32) -> u32 {
        self.range.first + self.chosen + length - self.range.end
    }

    /// The position of a row, its address, and the address of the slot that it should be copied to
    /// or null.
    #[inline(always)]
    fn locate<const DIM: u32>(&self, pair: &Pair, index: u32) -> (u32, Global<T>, GlobalMut<T>) {
        let Range { first, end } = self.range;
        let nowhere = GlobalMut::from_address(0);
        let near = |row: u32| self.near.offset((row * DIM) as usize);
        if index < first {
            return (index, near(index), nowhere);
        }
        if index >= first + self.chosen {
            let position = end + index - first - self.chosen;
            return (position, near(self.sinks + position % self.window), nowhere);
        }
        let [position, slot] = self.rows.read((index - first) as usize).0;
        let hot = self.hot.offset((slot & !FETCHED) as usize * DIM as usize);
        if slot & FETCHED == 0 {
            return (position, hot.as_const(), nowhere);
        }
        let block = Global::<T>::from_address(self.table.read((position / KV_BLOCK) as usize));
        let row = (pair.kv_head * KV_BLOCK + position % KV_BLOCK) * DIM;
        let target = if slot == NOT_HOT { nowhere } else { hot };
        (position, block.offset(row as usize), target)
    }
}

/// Shared memory of the sum.
struct Room<T, const DIM: u32> {
    start: Shared<u8>,
    element: PhantomData<T>,
}

impl<T: Element, const DIM: u32> Room<T, DIM> {
    fn sources(&self) -> Shared<u64> {
        self.start.cast()
    }

    fn targets(&self) -> Shared<u64> {
        self.sources().offset(BATCH)
    }

    /// Of head `h`, the rounded weights in row `h`, and what rounding took in row `MAX_GROUP + h`,
    /// so that the product loses nothing.
    fn weights(&self) -> Tile<T, BATCH> {
        Tile(self.targets().offset(BATCH).cast())
    }

    fn tile(&self, index: u32) -> Tile<T, DIM> {
        let ring = self.weights().0.offset(2 * MAX_GROUP * stride(BATCH));
        Tile(ring.offset(index % tiles(DIM) * ROWS * stride(DIM)))
    }
}

/// The sums of a warp: rows are heads twice over, as the weights; columns `8 · i` of the tiles of 16
/// columns that the warp has, every `WARPS`-th.
pub type Sums<const TILES: usize> = [[[f32; 4]; 2]; TILES];

/// Sums the rows, each times its probability, and gives the warp's sums. Adds the probabilities to
/// `kept [WARPS, MAX_GROUP]`, each warp those of its rows.
#[inline(always)]
pub fn gather<T: Float16, const DIM: u32, const TILES: usize>(
    sources: &Sources<T>,
    weights: &Weights,
    pair: &Pair,
    shared: Shared<u8>,
    kept: Shared<f32>,
) -> Sums<TILES> {
    let room = Room::<T, DIM> {
        start: shared,
        element: PhantomData,
    };
    let mut sums = [[[0.0; 4]; 2]; TILES];
    if thread::thread_idx_x() < WARPS * MAX_GROUP {
        kept.write(thread::thread_idx_x(), 0.0);
    }
    let count = sources.count(pair.length);
    let mut first = 0;
    while first < count {
        // What the batch before has in shared memory is no longer read.
        thread::sync_threads();
        prepare(sources, weights, pair, &room, (first, count), kept);
        thread::sync_threads();
        sum_batch(&room, (count - first).min(BATCH), &mut sums);
        first += BATCH;
    }
    thread::sync_threads();
    sums
}

/// Finds addresses and weights of the batch from row `first` on.
#[inline(always)]
fn prepare<T: Float16, const DIM: u32>(
    sources: &Sources<T>,
    weights: &Weights,
    pair: &Pair,
    room: &Room<T, DIM>,
    (first, count): (u32, u32),
    kept: Shared<f32>,
) {
    let mut index = thread::thread_idx_x();
    while index < BATCH {
        let valid = first + index < count;
        let mut position = 0;
        if valid {
            let (at, source, target) = sources.locate::<DIM>(pair, first + index);
            position = at;
            room.sources().write(index, source.address());
            room.targets().write(index, target.as_const().address());
        }
        for head in 0..math::opaque(MAX_GROUP) {
            let weight = if valid && head < pair.group {
                weights.of(head, position)
            } else {
                0.0
            };
            let rounded = T::from_f32(weight);
            let rest = T::from_f32(weight - rounded.to_f32());
            room.weights().at(head, index).write(0, rounded);
            room.weights().at(MAX_GROUP + head, index).write(0, rest);
            let sum = warp::warp_sum(weight);
            if warp::lane_id() == 0 {
                let kept = kept.offset(warp::warp_id() * MAX_GROUP + head);
                kept.write(0, kept.read(0) + sum);
            }
        }
        index += THREADS;
    }
}

/// Streams the rows of a batch through the ring and adds their products.
#[inline(always)]
fn sum_batch<T: Float16, const DIM: u32, const TILES: usize>(
    room: &Room<T, DIM>,
    count: u32,
    sums: &mut Sums<TILES>,
) {
    let stages = count.div_ceil(ROWS);
    let ahead = tiles(DIM) - 1;
    for started in 0..stages + ahead {
        if started >= ahead {
            if DIM > 128 {
                async_copy::wait::<{ tiles(256) - 2 }>();
            } else {
                async_copy::wait::<{ tiles(128) - 2 }>();
            }
            // The next stage has arrived by all threads, and the tile of the one before is free.
            thread::sync_threads();
        }
        start_stage(room, started, count);
        if started >= ahead {
            keep_fetched(room, started - ahead, count);
            multiply(room, started - ahead, sums);
        }
    }
    async_copy::wait::<0>();
}

/// Starts copying the rows of a stage, if there is one; rows past the last become zero.
#[inline(always)]
fn start_stage<T: Float16, const DIM: u32>(room: &Room<T, DIM>, stage: u32, count: u32) {
    let first = stage * ROWS;
    if first < count {
        room.tile(stage).start_copy(ROWS, THREADS, |row| {
            let valid = first + row < count;
            let index = if valid { first + row } else { first };
            let source = Global::from_address(room.sources().read(index));
            (source, if valid { DIM } else { 0 })
        });
    }
    async_copy::commit();
}

/// Copies the fetched rows of a stage to their slots.
#[inline(always)]
fn keep_fetched<T: Float16, const DIM: u32>(room: &Room<T, DIM>, stage: u32, count: u32) {
    let per_row = DIM / LANE_WIDTH;
    let mut unit = thread::thread_idx_x();
    while unit < ROWS * per_row {
        let (row, column) = (unit / per_row, unit % per_row);
        if stage * ROWS + row < count {
            let target = room.targets().read(stage * ROWS + row);
            if target != 0 {
                let words = room.tile(stage).at(row, column * LANE_WIDTH);
                GlobalMut::<U32x4>::from_address(target)
                    .write(column as usize, words.cast::<U32x4>().read(0));
            }
        }
        unit += THREADS;
    }
}

/// Adds the products of a stage's rows.
#[inline(always)]
fn multiply<T: Float16, const DIM: u32, const TILES: usize>(
    room: &Room<T, DIM>,
    stage: u32,
    sums: &mut Sums<TILES>,
) {
    let a = room.weights().a(0, stage * ROWS);
    let tile = room.tile(stage);
    for (i, sums) in sums.iter_mut().enumerate() {
        let column = (i as u32 * WARPS + warp::warp_id()) * 16;
        if column < DIM {
            let [b0, b1] = tile.b_pair_transposed(0, column);
            T::mma_m16n8k16(&mut sums[0], a, b0);
            T::mma_m16n8k16(&mut sums[1], a, b1);
        }
    }
}
