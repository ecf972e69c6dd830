//! Scores of the newest position of each sequence against all its keys.

use cuda_std::{
    Float16, Global, GlobalMut, U32x2, U32x4, bf16, f16, kernel, shared_array, thread, warp,
};

use crate::KV_BLOCK;
use crate::softmax::{Softmax, write_partials};

/// Threads of a block.
pub const THREADS: u32 = 128;

/// Warps of a block.
const WARPS: u32 = THREADS / warp::SIZE;

/// Positions that a block handles, a block of K for each warp: grid
/// `(ceil(longest / POSITIONS), kv_heads, sequences)`.
pub const POSITIONS: u32 = WARPS * KV_BLOCK;

/// The most query heads that share a KV head: the product has so many rows to use.
pub const MAX_GROUP: u32 = 8;

/// Parts of 32 elements: each lane reads 8 of them at once.
pub(crate) const PART: u32 = 32;

/// The lane's words of the group's queries, as `A` of the products: head `lane / 4`, in each part
/// the elements that the lane reads of a key. The order of the elements differs from the one the
/// tensor cores name, but it is the same for both operands, and a sum has no order.
#[inline(always)]
pub(crate) fn load_queries<T: Float16, const DIM: u32, const PARTS: usize>(
    q: Global<T>,
    group: u32,
) -> [U32x4; PARTS] {
    let (head, pair) = (warp::lane_id() / 4, warp::lane_id() % 4);
    core::array::from_fn(|part| {
        if head < group {
            let element = head * DIM + part as u32 * PART + pair * 8;
            q.offset(element as usize).cast::<U32x4>().read(0)
        } else {
            U32x4::default()
        }
    })
}

/// Scores of eight positions: of head `lane / 4`, the positions `2 · (lane % 4)` and the next.
#[inline(always)]
pub(crate) fn score<T: Float16, const PARTS: usize>(
    q: &[U32x4; PARTS],
    k: &[U32x4; PARTS],
) -> [f32; 2] {
    let mut sums = [0.0; 4];
    for (q, k) in q.iter().zip(k) {
        T::mma_m16n8k16(&mut sums, [q.0[0], 0, q.0[1], 0], [k.0[0], k.0[1]]);
        T::mma_m16n8k16(&mut sums, [q.0[2], 0, q.0[3], 0], [k.0[2], k.0[3]]);
    }
    [sums[0], sums[1]]
}

/// Where a warp's scores go, and which of them count.
struct Target {
    scores: GlobalMut<f32>,
    stride: u32,
    group: u32,
    length: u32,
    scale: f32,
}

impl Target {
    /// Writes the lane's two scores of the positions from `position` on, and counts them.
    #[inline(always)]
    fn put(&self, scores: [f32; 2], position: u32, softmax: Softmax) -> Softmax {
        let (head, first) = (warp::lane_id() / 4, position + warp::lane_id() % 4 * 2);
        if head >= self.group || first >= self.length {
            return softmax;
        }
        let both = first + 1 < self.length;
        let [s0, s1] = scores.map(|score| score * self.scale);
        let out = self.scores.offset(head as usize * self.stride as usize);
        if both {
            let words = U32x2([s0.to_bits(), s1.to_bits()]);
            out.cast::<U32x2>().write((first / 2) as usize, words);
        } else {
            out.write(first as usize, s0);
        }
        let softmax = softmax.merge(Softmax::of(s0));
        if both {
            softmax.merge(Softmax::of(s1))
        } else {
            softmax
        }
    }
}

/// Scores one block of K by one warp.
#[inline(always)]
fn score_block<T: Float16, const DIM: u32, const PARTS: usize>(
    q: &[U32x4; PARTS],
    keys: Global<T>,
    first: u32,
    target: &Target,
) -> Softmax {
    let (row, pair) = (warp::lane_id() / 4, warp::lane_id() % 4);
    let mut softmax = Softmax::EMPTY;
    let mut position = 0;
    while position < KV_BLOCK && first + position < target.length {
        // Past the end the last key stands in, whose score is not kept.
        let row = (position + row).min(target.length - 1 - first);
        let key = keys.offset((row * DIM + pair * 8) as usize);
        let words = core::array::from_fn(|part| {
            key.offset(part * PART as usize)
                .cast::<U32x4>()
                .read_streaming(0)
        });
        softmax = target.put(score::<T, PARTS>(q, &words), first + position, softmax);
        position += 8;
    }
    softmax.merge_lanes(4)
}

macro_rules! kernels {
    ($($name:ident, $element:ty, $dim:literal;)*) => {$(
        /// `scores = scale · q · k` of each query head against all keys of its sequence, and the
        /// parts of the softmax over them.
        ///
        /// - `q [sequences, q_heads, dim]`; `lengths [sequences]`, each at least 1; K in blocks
        ///   whose addresses row `s` of `k_table [sequences, table_stride]` holds;
        /// - `scores [sequences, q_heads, score_stride]`, of which `lengths[s]` are written;
        ///   `score_stride` is even;
        /// - `partials [sequences, q_heads, splits]`: pairs of the largest score `m` of a split and
        ///   `Σ exp(score - m)`; of a split without positions `-∞` and 0.
        ///
        /// Grid `(splits, kv_heads, sequences)` with `splits = ceil(longest / POSITIONS)`, block
        /// `(THREADS)`. At most [`MAX_GROUP`] query heads share a KV head.
        #[kernel(max_threads = THREADS)]
        pub fn $name(
            scores: GlobalMut<f32>,
            partials: GlobalMut<f32>,
            q: Global<$element>,
            k_table: Global<u64>,
            lengths: Global<u32>,
            q_heads: u32,
            score_stride: u32,
            table_stride: u32,
            scale: f32,
        ) {
            let shared = shared_array![U32x2; WARPS * MAX_GROUP];
            let (split, kv_head) = (thread::block_idx_x(), thread::block_idx_y());
            let sequence = thread::block_idx_z() as usize;
            let (splits, kv_heads) = (thread::grid_dim_x(), thread::grid_dim_y());
            let group = q_heads / kv_heads;
            let head = sequence * q_heads as usize + (kv_head * group) as usize;
            let target = Target {
                scores: scores.offset(head * score_stride as usize),
                stride: score_stride,
                group,
                length: lengths.read(sequence),
                scale,
            };
            let block = split * WARPS + warp::warp_id();
            let mut softmax = Softmax::EMPTY;
            if block * KV_BLOCK < target.length {
                let q = load_queries::<$element, $dim, { $dim / PART as usize }>(
                    q.offset(head * $dim), group,
                );
                let table = k_table.offset(sequence * table_stride as usize);
                let keys = Global::<$element>::from_address(table.read(block as usize))
                    .offset((kv_head * KV_BLOCK * $dim) as usize);
                softmax = score_block::<$element, $dim, _>(&q, keys, block * KV_BLOCK, &target);
            }
            let partials = partials.cast::<U32x2>().offset(head * splits as usize + split as usize);
            write_partials(partials, shared, softmax, (group, MAX_GROUP), splits);
        }
    )*};
}

kernels! {
    decode_scores_64_bf16, bf16, 64;
    decode_scores_96_bf16, bf16, 96;
    decode_scores_128_bf16, bf16, 128;
    decode_scores_256_bf16, bf16, 256;
    decode_scores_64_f16, f16, 64;
    decode_scores_96_f16, f16, 96;
    decode_scores_128_f16, f16, 128;
    decode_scores_256_f16, f16, 256;
}
