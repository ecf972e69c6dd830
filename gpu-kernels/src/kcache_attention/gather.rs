//! The weighted sum of the selected rows of V, from wherever each of them lies.
//!
//! Addresses and weights of a batch of rows are found at once, a thread for each row. Then every
//! warp sums rows of its own, by way of a ring in shared memory that most of them fit in together, so
//! that the host is waited for once: no warp waits for another before all are done. A row fetched
//! from the host goes from there into its slot as well.

use core::marker::PhantomData;

use cuda_std::{Element, Float16, Global, GlobalMut, Shared, async_copy, thread, warp};

use super::attend::Pair;
use super::scores::Weights;
use super::sources::{EACH, Sources};
use super::{THREADS, WARPS};
use crate::decode_scores::MAX_GROUP;

/// Rows whose addresses and weights are found at once.
const BATCH: u32 = EACH as u32 * THREADS;

/// Words of a row that a lane reads: word `lane`, and every 32nd after it.
pub const fn words(dim: usize) -> usize {
    dim.div_ceil(2 * warp::SIZE as usize)
}

/// Stages of a warp's ring, a power of two. Each takes what one copy of all lanes moves, 16 bytes a
/// lane.
const STAGES: u32 = 16;

/// Lanes that copy one row.
const fn lanes(dim: u32) -> u32 {
    dim / 8
}

/// Rows of a stage.
const fn rows_at_once(dim: u32) -> u32 {
    warp::SIZE / lanes(dim)
}

/// Elements of a warp's ring.
const fn ring(dim: u32) -> u32 {
    STAGES * rows_at_once(dim) * dim
}

/// Bytes of the places and weights of a batch, a multiple of 16.
const PLACES: u32 = BATCH * (2 * size_of::<u64>() as u32 + MAX_GROUP * size_of::<f32>() as u32);

/// Bytes of shared memory for heads of `dim` elements.
pub const fn shared_bytes(dim: u32) -> u32 {
    let rings = WARPS * ring(dim) * 2;
    let sums = WARPS * MAX_GROUP * dim * size_of::<f32>() as u32;
    if PLACES + rings > sums {
        PLACES + rings
    } else {
        sums
    }
}

/// What the sum of a batch is made from, in shared memory.
struct Room<T> {
    start: Shared<u8>,
    element: PhantomData<T>,
}

impl<T: Element> Room<T> {
    /// The address of each row.
    fn sources(&self) -> Shared<u64> {
        self.start.cast()
    }

    /// Where each row goes as well, or 0.
    fn targets(&self) -> Shared<u64> {
        self.sources().offset(BATCH)
    }

    /// `[BATCH, heads]`; rows past the last weigh nothing.
    fn weights(&self) -> Shared<f32> {
        self.targets().offset(BATCH).cast()
    }

    /// The ring of the running warp.
    fn ring(&self, dim: u32) -> Shared<T> {
        let rings = self.start.offset(PLACES).cast::<T>();
        rings.offset(warp::warp_id() * ring(dim))
    }
}

/// What a warp has summed for each head: its lane's words of the rows, and the weights.
struct Sums<const HEADS: usize, const WORDS: usize> {
    rows: [[[f32; 2]; WORDS]; HEADS],
    weights: [f32; HEADS],
}

/// Sums the rows, each times its probability. Writes what each warp has, `[WARPS, HEADS, DIM]`, to
/// the shared memory from `shared` on, and its probabilities to `kept [WARPS, MAX_GROUP]`; both may
/// be read afterwards. There are at most `HEADS` query heads.
#[inline(always)]
pub fn gather<T: Float16, const DIM: u32, const HEADS: usize, const WORDS: usize>(
    sources: &Sources<T>,
    weights: &Weights,
    pair: &Pair,
    shared: Shared<u8>,
    kept: Shared<f32>,
) {
    let room = Room::<T> {
        start: shared,
        element: PhantomData,
    };
    let mut sums = Sums {
        rows: [[[0.0; 2]; WORDS]; HEADS],
        weights: [0.0; HEADS],
    };
    let count = sources.count(pair.length);
    let mut first = 0;
    while first < count {
        // What was in shared memory before is no longer read.
        thread::sync_threads();
        prepare::<T, DIM, HEADS>(sources, weights, pair, &room, (first, count));
        thread::sync_threads();
        sum_batch::<T, DIM, HEADS, WORDS>(&room, (count - first).min(BATCH), &mut sums);
        first += BATCH;
    }
    thread::sync_threads();
    let lane = warp::lane_id();
    for head in 0..HEADS {
        let row = warp::warp_id() * HEADS as u32 + head as u32;
        let out = room.start.cast::<f32>().offset(row * DIM);
        for word in 0..WORDS {
            let column = 2 * (lane + word as u32 * warp::SIZE);
            if column < DIM {
                let [low, high] = sums.rows[head][word];
                out.write(column, low);
                out.write(column + 1, high);
            }
        }
        if lane == 0 {
            kept.write(
                warp::warp_id() * MAX_GROUP + head as u32,
                sums.weights[head],
            );
        }
    }
    thread::sync_threads();
}

/// Finds addresses and weights of the batch from row `first` on.
#[inline(always)]
fn prepare<T: Float16, const DIM: u32, const HEADS: usize>(
    sources: &Sources<T>,
    weights: &Weights,
    pair: &Pair,
    room: &Room<T>,
    (first, count): (u32, u32),
) {
    let places: [u32; EACH] = core::array::from_fn(|i| thread::thread_idx_x() + i as u32 * THREADS);
    let is_row = places.map(|place| first + place < count);
    // Of one that is not there, what is there of the last.
    let located = sources.locate::<DIM>(pair, places.map(|place| (first + place).min(count - 1)));
    let weights: [[f32; HEADS]; EACH] = core::array::from_fn(|i| {
        core::array::from_fn(|head| match is_row[i] && (head as u32) < pair.group {
            true => weights.of(head as u32, located[i].position),
            false => 0.0,
        })
    });
    for i in 0..EACH {
        let (place, row) = (places[i], located[i]);
        room.sources().write(place, row.source.address());
        room.targets().write(place, row.target.as_const().address());
        for (head, &weight) in weights[i].iter().enumerate() {
            room.weights()
                .write(place * HEADS as u32 + head as u32, weight);
        }
    }
}

/// Adds the rows of a batch: to a warp every `WARPS`-th stage of them.
#[inline(always)]
fn sum_batch<T: Float16, const DIM: u32, const HEADS: usize, const WORDS: usize>(
    room: &Room<T>,
    count: u32,
    sums: &mut Sums<HEADS, WORDS>,
) {
    for stage in 0..STAGES {
        start::<T, DIM>(room, stage, count);
    }
    let mut stage = 0;
    while first_row(DIM, stage) < count {
        async_copy::wait::<{ STAGES - 1 }>();
        warp::sync_warp(warp::ALL);
        for row in 0..rows_at_once(DIM) {
            let index = first_row(DIM, stage) + row;
            if index < count {
                let words = read::<T, DIM, WORDS>(room, stage, row);
                add(room, index, &words, sums);
                keep_fetched::<T, DIM, WORDS>(room, index, &words);
            }
        }
        // All lanes have read the stage.
        warp::sync_warp(warp::ALL);
        start::<T, DIM>(room, stage + STAGES, count);
        stage += 1;
    }
}

/// The first row of the batch that is in a stage of the warp.
#[inline(always)]
fn first_row(dim: u32, stage: u32) -> u32 {
    (stage * WARPS + warp::warp_id()) * rows_at_once(dim)
}

/// Starts copying the rows of a stage, if there are any.
#[inline(always)]
fn start<T: Float16, const DIM: u32>(room: &Room<T>, stage: u32, count: u32) {
    let lane = warp::lane_id();
    let (row, part) = (lane / lanes(DIM), lane % lanes(DIM));
    let index = first_row(DIM, stage) + row;
    if row < rows_at_once(DIM) && index < count {
        let source = Global::<T>::from_address(room.sources().read(index));
        let place = stage % STAGES * rows_at_once(DIM) * DIM + 8 * lane;
        let target = room.ring(DIM).offset(place);
        async_copy::copy_16(target, source.offset(8 * part as usize), 16);
    }
    async_copy::commit();
}

/// The lane's words of a row of a stage.
#[inline(always)]
fn read<T: Float16, const DIM: u32, const WORDS: usize>(
    room: &Room<T>,
    stage: u32,
    row: u32,
) -> [u32; WORDS] {
    let row = room
        .ring(DIM)
        .offset((stage % STAGES * rows_at_once(DIM) + row) * DIM);
    let row = row.cast::<u32>();
    core::array::from_fn(|word| {
        let place = warp::lane_id() + word as u32 * warp::SIZE;
        if 2 * place < DIM { row.read(place) } else { 0 }
    })
}

/// Adds a row, times what each head weighs it.
#[inline(always)]
fn add<T: Float16, const HEADS: usize, const WORDS: usize>(
    room: &Room<T>,
    index: u32,
    words: &[u32; WORDS],
    sums: &mut Sums<HEADS, WORDS>,
) {
    let weights = room.weights().offset(index * HEADS as u32);
    for head in 0..HEADS {
        let weight = weights.read(head as u32);
        sums.weights[head] += weight;
        for (word, &value) in words.iter().enumerate() {
            let [low, high] = T::unpack(value);
            sums.rows[head][word][0] += weight * low;
            sums.rows[head][word][1] += weight * high;
        }
    }
}

/// Copies a row that was fetched to its slot.
#[inline(always)]
fn keep_fetched<T: Float16, const DIM: u32, const WORDS: usize>(
    room: &Room<T>,
    index: u32,
    words: &[u32; WORDS],
) {
    let target = room.targets().read(index);
    if target != 0 {
        let slot = GlobalMut::<u32>::from_address(target);
        for (word, &value) in words.iter().enumerate() {
            let place = warp::lane_id() + word as u32 * warp::SIZE;
            if 2 * place < DIM {
                slot.write(place as usize, value);
            }
        }
    }
}
