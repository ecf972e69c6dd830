//! Dense causal attention of many positions of one sequence, without storing scores.

use core::f32::consts::LOG2_E;

use cuda_std::{
    Float16, Global, GlobalMut, async_copy, bf16, dynamic_shared, f16, kernel, math, thread, warp,
};

use crate::KV_BLOCK;
use crate::tile::Tile;

/// Threads of a block.
pub const THREADS: u32 = 128;

/// Rows of Q that a block handles, 16 for each warp: grid `(ceil(rows / Q_ROWS), q_heads)`.
pub const Q_ROWS: u32 = THREADS / warp::SIZE * 16;

/// Tiles of eight positions in a block of K.
const POSITION_TILES: usize = KV_BLOCK as usize / 8;

/// Bytes of dynamic shared memory for heads of `dim` elements.
pub const fn shared_bytes(dim: u32) -> u32 {
    (Q_ROWS + 2 * KV_BLOCK) * crate::tile::stride(dim) * 2
}

/// Scores of 16 rows and the positions of a block; a lane has rows `lane / 4` and `lane / 4 + 8`.
type Scores = [[f32; 4]; POSITION_TILES];

/// The softmax so far of the lane's two rows, in powers of two.
#[derive(Clone, Copy)]
struct Softmax {
    max: [f32; 2],
    sum: [f32; 2],
}

impl Softmax {
    /// Turns scores into weights relative to the largest score so far, and gives the factors by
    /// which earlier weights shrink.
    #[inline(always)]
    fn update(&mut self, scores: &mut Scores) -> [f32; 2] {
        let mut factors = [0.0; 2];
        for half in 0..2 {
            let mut max = self.max[half];
            for tile in scores.iter() {
                max = max.max(tile[2 * half]).max(tile[2 * half + 1]);
            }
            max = max.max(warp::warp_shuffle_xor(warp::ALL, max, 1));
            max = max.max(warp::warp_shuffle_xor(warp::ALL, max, 2));
            factors[half] = math::exp2(self.max[half] - max);
            self.max[half] = max;
            let mut sum = 0.0;
            for tile in scores.iter_mut() {
                for score in &mut tile[2 * half..2 * half + 2] {
                    *score = math::exp2(*score - max);
                    sum += *score;
                }
            }
            self.sum[half] = self.sum[half] * factors[half] + sum;
        }
        factors
    }

    /// The lanes' shares of the sums, added up.
    #[inline(always)]
    fn total(&self) -> [f32; 2] {
        self.sum.map(|sum| {
            let sum = sum + warp::warp_shuffle_xor(warp::ALL, sum, 1);
            sum + warp::warp_shuffle_xor(warp::ALL, sum, 2)
        })
    }
}

/// Scores of the warp's rows against a block of K.
#[inline(always)]
fn score<T: Float16, const DIM: u32>(q: Tile<T, DIM>, k: Tile<T, DIM>) -> Scores {
    let mut scores = [[0.0; 4]; POSITION_TILES];
    for step in 0..DIM / 16 {
        let a = q.a(warp::warp_id() * 16, step * 16);
        for pair in 0..POSITION_TILES / 2 {
            let [b0, b1] = k.b_pair(16 * pair as u32, step * 16);
            T::mma_m16n8k16(&mut scores[2 * pair], a, b0);
            T::mma_m16n8k16(&mut scores[2 * pair + 1], a, b1);
        }
    }
    scores
}

/// Scales scores to powers of two, and rules out the positions after each row's own. `row` is the
/// position of the lane's first row, `position` the first of the block.
#[inline(always)]
fn mask(scores: &mut Scores, scale: f32, row: u32, position: u32) {
    for (tile, scores) in scores.iter_mut().enumerate() {
        for (e, score) in scores.iter_mut().enumerate() {
            let position = position + 8 * tile as u32 + warp::lane_id() % 4 * 2 + e as u32 % 2;
            let visible = position <= row + e as u32 / 2 * 8;
            *score = if visible {
                *score * scale
            } else {
                f32::NEG_INFINITY
            };
        }
    }
}

/// Adds the weighted rows of a block of V.
#[inline(always)]
fn add_values<T: Float16, const DIM: u32, const TILES: usize>(
    sums: &mut [[f32; 4]; TILES],
    weights: &Scores,
    v: Tile<T, DIM>,
) {
    for step in 0..POSITION_TILES / 2 {
        let (low, high) = (weights[2 * step], weights[2 * step + 1]);
        // What a product gave is laid out as the next one takes it.
        let a = [
            T::pack(low[0], low[1]),
            T::pack(low[2], low[3]),
            T::pack(high[0], high[1]),
            T::pack(high[2], high[3]),
        ];
        for pair in 0..TILES / 2 {
            let [b0, b1] = v.b_pair_transposed(16 * step as u32, 16 * pair as u32);
            T::mma_m16n8k16(&mut sums[2 * pair], a, b0);
            T::mma_m16n8k16(&mut sums[2 * pair + 1], a, b1);
        }
    }
}

/// Starts copying one block of K or V of a head; positions from `length` on become zero.
#[inline(always)]
fn start_block<T: Float16, const DIM: u32>(
    tile: Tile<T, DIM>,
    blocks: Global<u64>,
    kv_head: u32,
    block: u32,
    length: u32,
) {
    if block * KV_BLOCK < length {
        let start = Global::<T>::from_address(blocks.read(block as usize))
            .offset((kv_head * KV_BLOCK * DIM) as usize);
        tile.start_copy(KV_BLOCK, THREADS, |i| {
            let valid = if block * KV_BLOCK + i < length {
                DIM
            } else {
                0
            };
            (start.offset((i * DIM) as usize), valid)
        });
    }
    async_copy::commit();
}

/// Writes the warp's rows.
#[inline(always)]
fn write_rows<T: Float16, const TILES: usize>(
    out: GlobalMut<T>,
    sums: &[[f32; 4]; TILES],
    totals: [f32; 2],
    (row, rows, stride): (u32, u32, u32),
) {
    for half in 0..2 {
        let row = row + 8 * half as u32;
        if row < rows {
            let inverse = 1.0 / totals[half];
            let out = out.offset(row as usize * stride as usize).cast::<u32>();
            for (tile, sum) in sums.iter().enumerate() {
                let word = T::pack(sum[2 * half] * inverse, sum[2 * half + 1] * inverse);
                out.write(4 * tile + (warp::lane_id() % 4) as usize, word);
            }
        }
    }
}

#[inline(always)]
fn attend<T: Float16, const DIM: u32, const TILES: usize>(
    out: GlobalMut<T>,
    q: Global<T>,
    k_blocks: Global<u64>,
    v_blocks: Global<u64>,
    (rows, first): (u32, u32),
    (q_heads, kv_heads): (u32, u32),
    scale: f32,
) {
    let q_tile = Tile::<T, DIM>(dynamic_shared(0));
    let k_tile = Tile::<T, DIM>(q_tile.at(Q_ROWS, 0));
    let v_tile = Tile::<T, DIM>(k_tile.at(KV_BLOCK, 0));
    // Blocks start in order: the longest first.
    let start = (thread::grid_dim_x() - 1 - thread::block_idx_x()) * Q_ROWS;
    let head = thread::block_idx_y();
    let kv_head = head / (q_heads / kv_heads);
    let stride = q_heads * DIM;
    let length = first + (start + Q_ROWS).min(rows);
    let q_head = q.offset((head * DIM) as usize);
    q_tile.start_copy(Q_ROWS, THREADS, |i| {
        let row = start + i;
        let (row, valid) = if row < rows { (row, DIM) } else { (0, 0) };
        (q_head.offset(row as usize * stride as usize), valid)
    });
    start_block(k_tile, k_blocks, kv_head, 0, length);

    let row = start + warp::warp_id() * 16 + warp::lane_id() / 4;
    let mut softmax = Softmax {
        max: [f32::NEG_INFINITY; 2],
        sum: [0.0; 2],
    };
    let mut sums = [[0.0; 4]; TILES];
    let mut block = 0;
    while block * KV_BLOCK < length {
        start_block(v_tile, v_blocks, kv_head, block, length);
        async_copy::wait::<1>();
        thread::sync_threads();
        let mut scores = score(q_tile, k_tile);
        // K has been read by all: the next block may take its place.
        thread::sync_threads();
        start_block(k_tile, k_blocks, kv_head, block + 1, length);
        mask(&mut scores, scale * LOG2_E, first + row, block * KV_BLOCK);
        let factors = softmax.update(&mut scores);
        for sum in &mut sums {
            for (e, value) in sum.iter_mut().enumerate() {
                *value *= factors[e / 2];
            }
        }
        async_copy::wait::<1>();
        thread::sync_threads();
        add_values(&mut sums, &scores, v_tile);
        thread::sync_threads();
        block += 1;
    }
    let out = out.offset((head * DIM) as usize);
    write_rows(out, &sums, softmax.total(), (row, rows, stride));
}

macro_rules! kernels {
    ($($name:ident, $element:ty, $dim:literal;)*) => {$(
        /// Attention of the newest `rows` positions of a sequence, `first` positions before them:
        /// row `i` sees positions up to `first + i`.
        ///
        /// `out`, `q` `[rows, q_heads, dim]`; K and V of all `first + rows` positions in blocks
        /// whose addresses `k_blocks` and `v_blocks` hold. Grid `(ceil(rows / Q_ROWS), q_heads)`,
        /// block `(THREADS)`, dynamic shared memory [`shared_bytes`]. `kv_heads` divides
        /// `q_heads`.
        #[kernel(max_threads = THREADS)]
        pub fn $name(
            out: GlobalMut<$element>,
            q: Global<$element>,
            k_blocks: Global<u64>,
            v_blocks: Global<u64>,
            rows: u32,
            first: u32,
            q_heads: u32,
            kv_heads: u32,
            scale: f32,
        ) {
            attend::<$element, $dim, { $dim / 8 }>(
                out, q, k_blocks, v_blocks, (rows, first), (q_heads, kv_heads), scale,
            );
        }
    )*};
}

kernels! {
    prefill_attention_64_bf16, bf16, 64;
    prefill_attention_96_bf16, bf16, 96;
    prefill_attention_128_bf16, bf16, 128;
    prefill_attention_256_bf16, bf16, 256;
    prefill_attention_64_f16, f16, 64;
    prefill_attention_96_f16, f16, 96;
    prefill_attention_128_f16, f16, 128;
    prefill_attention_256_f16, f16, 256;
}
