//! Dense attention of the newest position of each sequence, in one launch.
//!
//! Each block takes some blocks of K and V of one KV head of one sequence, with the softmax as it
//! goes; the last of them to finish adds what all of them left.

mod rows;
mod sum;

use cuda_std::{Global, GlobalMut, bf16, f16, grid, kernel, thread, warp};

use crate::KV_BLOCK;
use crate::decode_scores::PART;

use rows::{ROWS, Room};

/// Threads of a block.
pub const THREADS: u32 = 128;

/// Warps of a block, each of which takes its part of a block of K and V.
const WARPS: u32 = KV_BLOCK / ROWS;

/// Blocks that should share a multiprocessor.
pub const fn min_blocks(dim: u32) -> u32 {
    if dim > 128 { 2 } else { 3 }
}

/// Query heads of a group that a block takes: as many as leave each thread the registers it needs.
/// Blocks of one larger group read the same rows, all but the first from the L2 cache.
const AT_ONCE: u32 = 4;

/// Blocks among which the `group` query heads of a KV head are divided.
pub const fn group_parts(group: u32) -> u32 {
    group.div_ceil(AT_ONCE)
}

/// Rows of V that a warp reads at once.
const fn rows_at_once(dim: u32) -> u32 {
    32 / (dim / 8)
}

/// Bytes of dynamic shared memory for `group` query heads of `dim` elements to a KV head.
pub const fn shared_bytes(dim: u32, group: u32) -> u32 {
    let heads = if group == 1 { 1 } else { AT_ONCE };
    WARPS * rows_at_once(dim) * heads * dim * 4
}

/// The arguments of the kernels, which document them.
struct Arguments<T> {
    out: GlobalMut<T>,
    partials: GlobalMut<f32>,
    stats: GlobalMut<f32>,
    arrivals: GlobalMut<u32>,
    q: Global<T>,
    k_table: Global<u64>,
    v_table: Global<u64>,
    table_stride: u32,
    scale: f32,
}

/// The query heads of a sequence and KV head that a block works for.
#[derive(Clone, Copy)]
struct Pair {
    sequence: usize,
    kv_head: u32,
    /// Its place among all.
    index: usize,
    /// Its first query head among all.
    head: usize,
    /// Its query heads.
    group: u32,
    /// Positions of the sequence.
    length: u32,
    /// Blocks that have a part in it, and this one's number.
    parts: u32,
    part: u32,
}

impl Pair {
    #[inline(always)]
    fn of_block(lengths: Global<u32>, q_heads: u32, kv_heads: u32) -> Self {
        let sequence = thread::block_idx_z() as usize;
        let group = q_heads / kv_heads;
        let kv_head = thread::block_idx_y() / group_parts(group);
        let first = thread::block_idx_y() % group_parts(group) * AT_ONCE;
        let length = lengths.read(sequence);
        Self {
            sequence,
            kv_head,
            index: sequence * thread::grid_dim_y() as usize + thread::block_idx_y() as usize,
            head: sequence * q_heads as usize + (kv_head * group + first) as usize,
            group: (group - first).min(AT_ONCE),
            length,
            parts: length.div_ceil(KV_BLOCK).min(thread::grid_dim_x()),
            part: thread::block_idx_x(),
        }
    }
}

macro_rules! kernels {
    ($($name:ident, $element:ty, $dim:literal;)*) => {$(
        /// `out = softmax(scale · q · kᵀ) · v` over all positions of each sequence.
        ///
        /// - `out` and `q` `[sequences, q_heads, dim]`; `lengths [sequences]`, a sequence of length
        ///   0 is left alone;
        /// - K and V in blocks whose addresses row `s` of `k_table` and `v_table [sequences,
        ///   table_stride]` holds: K in device memory, V too, or in pinned memory of the host if
        ///   `v_is_far` is not 0.
        ///
        /// No launch that is still running when this one begins writes `lengths` or the tables.
        ///
        /// Room to work, which no other launch uses at the same time: `partials [sequences, q_heads,
        /// splits, dim]`; `stats [sequences, q_heads, splits, 2]`; `arrivals [sequences,
        /// kv_heads · group_parts]`, 0 before the first launch, and again after each.
        ///
        /// Grid `(splits, kv_heads · group_parts, sequences)` for any `splits` and [`group_parts`] of
        /// `q_heads / kv_heads`, block `(THREADS)`, dynamic shared memory [`shared_bytes`].
        #[kernel(max_threads = THREADS, min_blocks = min_blocks($dim))]
        pub fn $name(
            out: GlobalMut<$element>,
            partials: GlobalMut<f32>,
            stats: GlobalMut<f32>,
            arrivals: GlobalMut<u32>,
            q: Global<$element>,
            k_table: Global<u64>,
            v_table: Global<u64>,
            lengths: Global<u32>,
            q_heads: u32,
            kv_heads: u32,
            table_stride: u32,
            scale: f32,
            v_is_far: u32,
        ) {
            const PARTS: usize = $dim / PART as usize;
            let room = Room::new();
            grid::release_next();
            let arguments = Arguments {
                out, partials, stats, arrivals, q, k_table, v_table, table_stride, scale,
            };
            let pair = Pair::of_block(lengths, q_heads, kv_heads);
            if pair.part >= pair.parts {
                grid::wait_for_previous();
                return;
            }
            let near = arguments.bring_near::<$dim>(&pair, v_is_far == 0);
            grid::wait_for_previous();
            if pair.group == 1 {
                arguments.run::<$dim, PARTS, 1>(&pair, near, room);
            } else {
                const ALL: usize = AT_ONCE as usize;
                arguments.run::<$dim, PARTS, ALL>(&pair, near, room);
            }
        }
    )*};
}

kernels! {
    decode_attention_64_bf16, bf16, 64;
    decode_attention_96_bf16, bf16, 96;
    decode_attention_128_bf16, bf16, 128;
    decode_attention_256_bf16, bf16, 256;
    decode_attention_64_f16, f16, 64;
    decode_attention_96_f16, f16, 96;
    decode_attention_128_f16, f16, 128;
    decode_attention_256_f16, f16, 256;
}

/// Lanes that read one row of V, and which of them the running one is; lanes past the last row read
/// none.
#[inline(always)]
fn lane_place<const DIM: u32>() -> (u32, u32) {
    (warp::lane_id() / (DIM / 8), warp::lane_id() % (DIM / 8))
}
