//! The weighted sum of the selected rows of V, wherever they lie.

use cuda_std::{
    Float16, Global, GlobalMut, Shared, U32x2, async_copy, bf16, dynamic_shared, f16, kernel, math,
    shared_array, thread, warp,
};

use crate::KV_BLOCK;
use crate::decode_scores::MAX_GROUP;
use crate::softmax::Softmax;
use crate::tile::{Tile, stride};

/// Threads of a block.
pub const THREADS: u32 = 128;

/// Warps of a block.
const WARPS: u32 = THREADS / warp::SIZE;

/// Rows of V that a block gathers at once, 16 for each warp.
pub const ROWS: u32 = WARPS * 16;

/// The part of a group's weights that one thread computes.
const WEIGHTS_PER_THREAD: usize = (MAX_GROUP * ROWS / THREADS) as usize;

/// Bytes of dynamic shared memory for heads of `dim` elements.
pub const fn shared_bytes(dim: u32) -> u32 {
    ROWS * stride(dim) * 2
}

/// The selected rows of one KV head of one sequence.
struct Selection {
    rows: Global<u32>,
    count: u32,
}

impl Selection {
    /// The position of a selected row. No list means all positions.
    #[inline(always)]
    fn position(&self, index: u32) -> u32 {
        if self.rows.address() == 0 {
            index
        } else {
            self.rows.read(index as usize)
        }
    }
}

/// A group's scores, and the softmax over all of them.
struct Weights {
    scores: Global<f32>,
    stride: u32,
    stats: Global<U32x2>,
    group: u32,
}

impl Weights {
    /// The probability of a position for a head of the group.
    #[inline(always)]
    fn probability(&self, head: u32, position: u32) -> f32 {
        let Softmax { max, sum } = Softmax::from_words(self.stats.read(head as usize));
        let score = self
            .scores
            .read(head as usize * self.stride as usize + position as usize);
        math::exp(score - max) / sum
    }

    /// Writes the weights of the rows from `first` on: of head `h`, the rounded weight in row `h`
    /// and what rounding took in row `MAX_GROUP + h`, so that the product loses nothing. Adds the
    /// weights of head `2 · j + thread / ROWS` to `kept[j]`.
    #[inline(always)]
    fn write<T: Float16>(
        &self,
        tile: Tile<T, ROWS>,
        selection: &Selection,
        first: u32,
        kept: &mut [f32; WEIGHTS_PER_THREAD],
    ) {
        let row = thread::thread_idx_x() % ROWS;
        let index = first + row;
        for (j, kept) in kept.iter_mut().enumerate() {
            let head = j as u32 * (THREADS / ROWS) + thread::thread_idx_x() / ROWS;
            let weight = if head < self.group && index < selection.count {
                self.probability(head, selection.position(index))
            } else {
                0.0
            };
            let rounded = T::from_f32(weight);
            tile.at(head, row).write(0, rounded);
            let rest = T::from_f32(weight - rounded.to_f32());
            tile.at(MAX_GROUP + head, row).write(0, rest);
            *kept += weight;
        }
    }
}

/// Starts copying the rows from `first` on; rows past the last become zero.
#[inline(always)]
fn start_gather<T: Float16, const DIM: u32>(
    tile: Tile<T, DIM>,
    table: Global<u64>,
    kv_head: u32,
    selection: &Selection,
    first: u32,
) {
    tile.start_copy(ROWS, THREADS, |i| {
        let valid = first + i < selection.count;
        let position = selection.position(if valid { first + i } else { 0 });
        let block = Global::<T>::from_address(table.read((position / KV_BLOCK) as usize));
        let row = (kv_head * KV_BLOCK + position % KV_BLOCK) * DIM;
        (block.offset(row as usize), if valid { DIM } else { 0 })
    });
    async_copy::commit();
}

/// Adds the warps' sums and writes those of the group's heads. `shared` takes
/// `[WARPS, MAX_GROUP, DIM]` floats.
#[inline(always)]
fn write_sums<const DIM: u32, const TILES: usize>(
    partials: GlobalMut<f32>,
    shared: Shared<f32>,
    sums: &[[f32; 4]; TILES],
    group: u32,
    splits: u32,
) {
    let (warp, lane) = (warp::warp_id(), warp::lane_id());
    for (tile, sum) in sums.iter().enumerate() {
        let column = 8 * tile as u32 + lane % 4 * 2;
        let at = shared.offset((warp * MAX_GROUP + lane / 4) * DIM + column);
        at.write(0, sum[0] + sum[2]);
        at.write(1, sum[1] + sum[3]);
    }
    thread::sync_threads();
    let mut i = thread::thread_idx_x();
    while i < group * DIM {
        let mut sum = 0.0;
        for warp in 0..WARPS {
            sum += shared.read(warp * MAX_GROUP * DIM + i);
        }
        partials.write(
            (i / DIM * splits) as usize * DIM as usize + (i % DIM) as usize,
            sum,
        );
        i += THREADS;
    }
}

/// Adds the threads' shares of the weights, and writes those of the group's heads.
#[inline(always)]
fn write_kept(
    kept_out: GlobalMut<f32>,
    shared: Shared<f32>,
    kept: [f32; WEIGHTS_PER_THREAD],
    group: u32,
    splits: u32,
) {
    for (j, &kept) in kept.iter().enumerate() {
        let kept = warp::warp_sum(kept);
        if warp::lane_id() == 0 {
            shared.write(j as u32 * WARPS + warp::warp_id(), kept);
        }
    }
    thread::sync_threads();
    let head = thread::thread_idx_x();
    if head < group {
        // Two warps share the rows of a head, as `Weights::write` deals them out.
        let sum = shared.read(2 * head) + shared.read(2 * head + 1);
        kept_out.write((head * splits) as usize, sum);
    }
}

macro_rules! kernels {
    ($($name:ident, $element:ty, $dim:literal;)*) => {$(
        /// Sums rows of V, each times its exact probability, in `splits` parts.
        ///
        /// - `partials [sequences, q_heads, splits, dim]`: the sums;
        /// - `kept [sequences, q_heads, splits]`: the sums of the probabilities;
        /// - `rows`, `counts`, `row_stride`, `stats`: as [`crate::select_rows`] left them; where
        ///   `rows` is null, every position counts and `counts [sequences, kv_heads]` are lengths;
        /// - `scores`, `score_stride`: as [`crate::decode_scores`] left them;
        /// - V in blocks whose addresses row `s` of `v_table [sequences, table_stride]` holds, in
        ///   device memory or in pinned memory of the host.
        ///
        /// Grid `(splits, kv_heads, sequences)` for any `splits`, block `(THREADS)`, dynamic shared
        /// memory [`shared_bytes`].
        #[kernel(max_threads = THREADS)]
        pub fn $name(
            partials: GlobalMut<f32>,
            kept: GlobalMut<f32>,
            rows: Global<u32>,
            counts: Global<u32>,
            scores: Global<f32>,
            stats: Global<f32>,
            v_table: Global<u64>,
            q_heads: u32,
            score_stride: u32,
            row_stride: u32,
            table_stride: u32,
        ) {
            const DIM: u32 = $dim;
            let weight_tile = Tile::<$element, ROWS>(shared_array![$element; 16 * stride(ROWS)]);
            let kept_shared = shared_array![f32; MAX_GROUP * 2];
            let tile = Tile::<$element, DIM>(dynamic_shared(0));
            let (split, splits) = (thread::block_idx_x(), thread::grid_dim_x());
            let (kv_head, kv_heads) = (thread::block_idx_y(), thread::grid_dim_y());
            let sequence = thread::block_idx_z() as usize;
            let group = q_heads / kv_heads;
            let head = sequence * q_heads as usize + (kv_head * group) as usize;
            let pair = sequence * kv_heads as usize + kv_head as usize;
            let list = if rows.address() == 0 { 0 } else { pair * row_stride as usize };
            let selection = Selection { rows: rows.offset(list), count: counts.read(pair) };
            let weights = Weights {
                scores: scores.offset(head * score_stride as usize),
                stride: score_stride,
                stats: stats.cast::<U32x2>().offset(head),
                group,
            };
            let table = v_table.offset(sequence * table_stride as usize);

            let mut sums = [[0.0; 4]; $dim / 8];
            let mut shares = [0.0; WEIGHTS_PER_THREAD];
            let mut first = split * ROWS;
            while first < selection.count {
                start_gather(tile, table, kv_head, &selection, first);
                weights.write(weight_tile, &selection, first, &mut shares);
                async_copy::wait::<0>();
                thread::sync_threads();
                let row = warp::warp_id() * 16;
                let a = weight_tile.a(0, row);
                for i in 0..$dim / 16 {
                    let [b0, b1] = tile.b_pair_transposed(row, 16 * i as u32);
                    <$element>::mma_m16n8k16(&mut sums[2 * i], a, b0);
                    <$element>::mma_m16n8k16(&mut sums[2 * i + 1], a, b1);
                }
                thread::sync_threads();
                first += splits * ROWS;
            }
            let part = head * splits as usize + split as usize;
            write_sums::<DIM, _>(
                partials.offset(part * DIM as usize), dynamic_shared(0), &sums, group, splits,
            );
            write_kept(kept.offset(part), kept_shared, shares, group, splits);
        }
    )*};
}

kernels! {
    v_sum_64_bf16, bf16, 64;
    v_sum_96_bf16, bf16, 96;
    v_sum_128_bf16, bf16, 128;
    v_sum_256_bf16, bf16, 256;
    v_sum_64_f16, f16, 64;
    v_sum_96_f16, f16, 96;
    v_sum_128_f16, f16, 128;
    v_sum_256_f16, f16, 256;
}
