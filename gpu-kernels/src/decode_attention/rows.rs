//! A warp's rows of K and V, with the softmax as it goes.

use cuda_std::{F32x2, F32x4, Float16, Global, Shared, U32x4, math, shared_array, warp};

use super::{AT_ONCE, Arguments, Pair, WARPS, lane_place, rows_at_once};
use crate::KV_BLOCK;
use crate::decode_scores::{load_queries, score};

/// Rows of K and V that a warp takes at once.
pub const ROWS: u32 = 16;

/// Rows of V that a lane has a part of, of a warp's [`ROWS`].
const fn lane_rows(dim: u32) -> u32 {
    ROWS / rows_at_once(dim)
}

/// Static shared memory of a block.
#[derive(Clone, Copy)]
pub struct Room {
    /// The warps' weights of their rows, `[WARPS, ROWS, AT_ONCE]`.
    pub weights: Shared<f32>,
    /// What the warps' sums are multiplied with, `[WARPS, AT_ONCE]`.
    pub factors: Shared<f32>,
    /// The warps' softmaxes, `[WARPS, AT_ONCE, 2]`.
    pub stats: Shared<f32>,
    /// How many blocks of the pair are done.
    pub arrived: Shared<u32>,
}

impl Room {
    #[inline(always)]
    pub fn new() -> Self {
        Self {
            weights: shared_array![f32; WARPS * ROWS * AT_ONCE],
            factors: shared_array![f32; WARPS * AT_ONCE],
            stats: shared_array![f32; WARPS * AT_ONCE * 2],
            arrived: shared_array![u32; 1],
        }
    }
}

/// What a warp knows of the rows it has seen. A lane has the softmax of head `lane / 4`, with its
/// share of the sum, and of each head its elements of the weighted sum of V.
pub struct Seen<const HEADS: usize> {
    pub max: f32,
    pub sum: f32,
    pub rows: [[f32; 8]; HEADS],
}

/// Bytes that a thread has brought into the L2 cache at once.
const LINE: u32 = 128;

impl<T: Float16> Arguments<T> {
    /// Where the warp's rows of K and V are in a block, of those that there are.
    #[inline(always)]
    fn rows<const DIM: u32>(&self, pair: &Pair, block: u32) -> [Global<T>; 2] {
        let table = pair.sequence * self.table_stride as usize + block as usize;
        let row = (pair.kv_head * KV_BLOCK + warp::warp_id() * ROWS) * DIM;
        [self.k_table, self.v_table]
            .map(|tables| Global::from_address(tables.read(table)).offset(row as usize))
    }

    /// Where the warp's first rows of K and V are. They are brought near before the launch's turn, of V
    /// if `with_v`: all but the newest are of earlier steps.
    #[inline(always)]
    pub fn bring_near<const DIM: u32>(&self, pair: &Pair, with_v: bool) -> [Global<T>; 2] {
        let [k, v] = self.rows::<DIM>(pair, pair.part);
        let first = pair.part * KV_BLOCK + warp::warp_id() * ROWS;
        let rows = pair.length.saturating_sub(first).min(ROWS);
        let mut element = warp::lane_id() * (LINE / 2);
        while element < rows * DIM {
            k.offset(element as usize).prefetch();
            if with_v {
                v.offset(element as usize).prefetch();
            }
            element += warp::SIZE * (LINE / 2);
        }
        [k, v]
    }

    /// The warp's share of the block's part, of which the first rows are near.
    #[inline(always)]
    pub fn see<const DIM: u32, const PARTS: usize, const HEADS: usize>(
        &self,
        pair: &Pair,
        near: [Global<T>; 2],
        room: Room,
    ) -> Seen<HEADS> {
        let q = self.q.offset(pair.head * DIM as usize);
        let q = load_queries::<T, DIM, PARTS>(q, pair.group);
        let mut seen = Seen {
            max: f32::NEG_INFINITY,
            sum: 0.0,
            rows: [[0.0; 8]; HEADS],
        };
        let (mut block, mut near) = (pair.part, near);
        loop {
            let first = block * KV_BLOCK + warp::warp_id() * ROWS;
            if first < pair.length {
                let [k, v] = near;
                let count = pair.length - first;
                seen.add::<T, DIM, PARTS>(&q, &Rows { k, v, count }, self.scale, room);
            }
            block += pair.parts;
            if block * KV_BLOCK >= pair.length {
                return seen;
            }
            near = self.rows::<DIM>(pair, block);
        }
    }
}

/// Rows of K and V, of which [`ROWS`] are taken at most.
struct Rows<T> {
    k: Global<T>,
    v: Global<T>,
    count: u32,
}

impl<T: Float16> Rows<T> {
    /// Scores of eight rows from `first` on, see [`score`]; past the last, -∞.
    #[inline(always)]
    fn score<const DIM: u32, const PARTS: usize>(
        &self,
        q: &[U32x4; PARTS],
        first: u32,
        scale: f32,
    ) -> [f32; 2] {
        let (row, pair) = (warp::lane_id() / 4, warp::lane_id() % 4);
        // Past the end the last key stands in, whose score is not kept.
        let row = (first + row).min(self.count - 1);
        let key = self.k.offset((row * DIM + pair * 8) as usize);
        let words = core::array::from_fn(|part| {
            let key = key.offset(part * crate::decode_scores::PART as usize);
            key.cast::<U32x4>().read_streaming(0)
        });
        let scores = score::<T, PARTS>(q, &words);
        [0, 1].map(|i| match first + 2 * pair + (i as u32) < self.count {
            true => scores[i] * scale,
            false => f32::NEG_INFINITY,
        })
    }

    /// Sixteen bytes of four rows of V from `first` on; past the last that is taken, zeros.
    #[inline(always)]
    fn values<const DIM: u32>(&self, first: u32, unit: u32) -> [U32x4; 4] {
        core::array::from_fn(|i| {
            let row = first + i as u32;
            if row < self.count.min(ROWS) {
                let row = self.v.offset((row * DIM) as usize).cast::<U32x4>();
                row.read_streaming(unit as usize)
            } else {
                U32x4::default()
            }
        })
    }
}

impl<const HEADS: usize> Seen<HEADS> {
    #[inline(always)]
    fn add<T: Float16, const DIM: u32, const PARTS: usize>(
        &mut self,
        q: &[U32x4; PARTS],
        rows: &Rows<T>,
        scale: f32,
        room: Room,
    ) {
        let (slot, unit) = lane_place::<DIM>();
        let of_slot = slot * lane_rows(DIM);
        // On their way while the keys are scored.
        let mut low = rows.values::<DIM>(of_slot, unit);
        let mut high = rows.values::<DIM>(of_slot + 4, unit);
        let first = rows.score::<DIM, PARTS>(q, 0, scale);
        let second = rows.score::<DIM, PARTS>(q, 8, scale);
        self.weigh(first, second, room);
        let weights = room.weights.offset(warp::warp_id() * ROWS * AT_ONCE);
        self.rescale(room);
        let mut row = of_slot;
        loop {
            let weights = weights.offset(row % ROWS * AT_ONCE);
            self.add_rows::<T>(low, weights);
            if lane_rows(DIM) > 4 {
                self.add_rows::<T>(high, weights.offset(4 * AT_ONCE));
            }
            row += 8;
            if row >= of_slot + lane_rows(DIM) {
                break;
            }
            low = rows.values::<DIM>(row, unit);
            high = rows.values::<DIM>(row + 4, unit);
        }
        // The weights are written again for the next rows.
        warp::sync_warp(warp::ALL);
    }

    /// Counts in the scores, and leaves weights and factors to the warp.
    #[inline(always)]
    fn weigh(&mut self, low: [f32; 2], high: [f32; 2], room: Room) {
        let (head, pair) = (warp::lane_id() / 4, warp::lane_id() % 4);
        let mut max = low[0].max(low[1]).max(high[0].max(high[1]));
        max = max.max(warp::warp_shuffle_xor(warp::ALL, max, 1));
        max = max.max(warp::warp_shuffle_xor(warp::ALL, max, 2));
        let max = max.max(self.max);
        let factor = if self.sum == 0.0 {
            0.0
        } else {
            math::exp(self.max - max)
        };
        self.sum *= factor;
        let rows = room.weights.offset(warp::warp_id() * ROWS * AT_ONCE + head);
        let mut put = |row: u32, score: f32| {
            let weight = math::exp(score - max);
            self.sum += weight;
            if head < AT_ONCE {
                rows.write(row * AT_ONCE, weight);
            }
        };
        put(2 * pair, low[0]);
        put(2 * pair + 1, low[1]);
        put(2 * pair + 8, high[0]);
        put(2 * pair + 9, high[1]);
        self.max = max;
        let factors = room.factors.offset(warp::warp_id() * AT_ONCE);
        if pair == 0 && head < AT_ONCE {
            factors.write(head, factor);
        }
        warp::sync_warp(warp::ALL);
    }

    #[inline(always)]
    fn rescale(&mut self, room: Room) {
        let factors = room.factors.offset(warp::warp_id() * AT_ONCE);
        for (head, sums) in self.rows.iter_mut().enumerate() {
            let factor = factors.read(head as u32);
            for sum in sums {
                *sum *= factor;
            }
        }
    }

    /// Adds four rows of V, times what each head weighs them: `weights [4, AT_ONCE]`. Heads that
    /// the group does not have are computed too, and not written.
    #[inline(always)]
    fn add_rows<T: Float16>(&mut self, [a, b, c, d]: [U32x4; 4], weights: Shared<f32>) {
        // Not a loop: sums must stay in registers, which a loop that is not unrolled cannot name.
        self.add_row::<T>(a, weights);
        self.add_row::<T>(b, weights.offset(AT_ONCE));
        self.add_row::<T>(c, weights.offset(2 * AT_ONCE));
        self.add_row::<T>(d, weights.offset(3 * AT_ONCE));
    }

    #[expect(
        clippy::needless_range_loop,
        reason = "an iterator would be in local memory"
    )]
    #[inline(always)]
    fn add_row<T: Float16>(&mut self, row: U32x4, weights: Shared<f32>) {
        let [a, b, c, d] = row.0.map(T::unpack);
        let row = [a[0], a[1], b[0], b[1], c[0], c[1], d[0], d[1]];
        for head in 0..HEADS {
            let weight = weights.read(head as u32);
            for i in 0..8 {
                self.rows[head][i] = math::fma(weight, row[i], self.rows[head][i]);
            }
        }
    }

    /// Leaves the warp's softmaxes, and in `[WARPS, rows at once, HEADS, DIM]` its sums.
    #[inline(always)]
    pub fn write<const DIM: u32>(&self, room: Room, sums: Shared<f32>) {
        let (warp, lane) = (warp::warp_id(), warp::lane_id());
        let mut sum = self.sum;
        sum += warp::warp_shuffle_xor(warp::ALL, sum, 1);
        sum += warp::warp_shuffle_xor(warp::ALL, sum, 2);
        if lane.is_multiple_of(4) && lane / 4 < AT_ONCE {
            let place = room.stats.offset(2 * (warp * AT_ONCE + lane / 4));
            place.cast::<F32x2>().write(0, F32x2([self.max, sum]));
        }
        let (slot, unit) = lane_place::<DIM>();
        if slot >= rows_at_once(DIM) {
            return;
        }
        let first = (warp * rows_at_once(DIM) + slot) * HEADS as u32 * DIM + unit * 8;
        let sums = sums.offset(first);
        for (head, row) in self.rows.iter().enumerate() {
            let place = sums.offset(head as u32 * DIM).cast::<F32x4>();
            place.write(0, F32x4([row[0], row[1], row[2], row[3]]));
            place.write(1, F32x4([row[4], row[5], row[6], row[7]]));
        }
    }
}

/// The block's softmax of a head, and an element of its weighted sum: `sums` lead to that of the
/// first warp's first rows.
#[inline(always)]
pub fn merge_warps<const DIM: u32, const HEADS: usize>(
    room: Room,
    head: u32,
    sums: Shared<f32>,
) -> (f32, f32, f32) {
    let stats = room.stats.offset(2 * head).cast::<F32x2>();
    let mut max = f32::NEG_INFINITY;
    for warp in 0..WARPS {
        max = max.max(stats.read(warp * AT_ONCE).0[0]);
    }
    let (mut sum, mut value) = (0.0, 0.0);
    for warp in 0..WARPS {
        let [warp_max, warp_sum] = stats.read(warp * AT_ONCE).0;
        // Of a warp that saw no row there is nothing to scale.
        let factor = if warp_sum == 0.0 {
            0.0
        } else {
            math::exp(warp_max - max)
        };
        sum = math::fma(warp_sum, factor, sum);
        for slot in 0..rows_at_once(DIM) {
            let row = (warp * rows_at_once(DIM) + slot) * HEADS as u32 * DIM;
            value = math::fma(sums.read(row), factor, value);
        }
    }
    (max, sum, value)
}
