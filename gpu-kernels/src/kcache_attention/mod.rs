//! Decode attention with V in host memory, in one launch.
//!
//! The blocks of a pair, one KV head of one sequence, score parts of its keys (`scan`). The last of
//! them to finish does the rest while blocks of other pairs go on scanning (`attend`): it merges the
//! softmax, selects rows of V exactly (`select`), looks up which of them are hot and makes room for
//! the others ([`hot_rows`]), sums them from wherever they lie (`gather`) and writes the output
//! (`output`). A block that waits for host memory leaves the multiprocessor to its neighbours.

use cuda_std::{Global, GlobalMut, bf16, f16, grid, kernel, shared_array, warp};

use crate::decode_scores::PART;

pub mod hot_rows;

mod attend;
mod gather;
mod limits;
mod output;
mod scan;
#[cfg(any(hopper, not(target_arch = "nvptx64")))]
mod scan_copied;
mod scores;
mod select;
mod sizes;
mod sources;
mod trace;
mod weigh;
mod words;

use sizes::min_blocks;
#[cfg(any(hopper, not(target_arch = "nvptx64")))]
use sizes::min_blocks_copied;
use trace::{Traced, Untraced};
use words::Words;

pub use scores::RUN;
#[cfg(not(target_arch = "nvptx64"))]
pub use sizes::shared_bytes_copied;
pub use sizes::{candidates, shared_bytes};
pub use trace::{MARKS, Mark};

/// Threads of a block.
pub const THREADS: u32 = 128;

/// Warps of a block.
const WARPS: u32 = THREADS / warp::SIZE;

/// Addresses in a row of `memory`.
pub const ADDRESSES: u32 = 5;

/// Counts that `traffic` holds.
pub const COUNTS: u32 = 3;

/// The arguments of the kernels, which document them.
struct Arguments<T, M> {
    out: GlobalMut<T>,
    traffic: Global<u64>,
    counts: GlobalMut<u32>,
    scores: GlobalMut<f32>,
    maxima: GlobalMut<f32>,
    masses: GlobalMut<f32>,
    partials: GlobalMut<f32>,
    rows: GlobalMut<u32>,
    arrivals: GlobalMut<u32>,
    q: Global<T>,
    k_table: Global<u64>,
    v_table: Global<u64>,
    memory: Global<u64>,
    totals: Global<u64>,
    lengths: Global<u32>,
    q_heads: u32,
    score_stride: u32,
    row_stride: u32,
    table_stride: u32,
    split: u32,
    sinks: u32,
    window: u32,
    top: u32,
    p: f32,
    group_score: u32,
    weighting: u32,
    slots: u32,
    candidates: u32,
    scale: f32,
    trace: M,
}

/// How the keys of a launch are scored.
macro_rules! scan {
    // Words of static shared memory, behind those that every kernel needs.
    (words registers) => {
        0
    };
    (words copies) => {
        scan_copied::BARRIERS * 2
    };
    (registers, $arguments:ident, $words:ident, $element:ty, $dim:literal, $parts:ident) => {
        $arguments.run::<$dim, { gather::words($dim) }>($words, |turn, keys, target, part| {
            const STEPS: usize = scan::steps($dim);
            scan::scan::<$element, _, $dim, $parts, STEPS>(turn, keys, target, part)
        })
    };
    (copies, $arguments:ident, $words:ident, $element:ty, $dim:literal, $parts:ident) => {
        let barriers = $words.after().cast();
        let ring =
            scan_copied::Ring::<$element>::new::<$dim>(cuda_std::dynamic_shared(0), barriers);
        $arguments.run::<$dim, { gather::words($dim) }>($words, |turn, keys, target, part| {
            const STEPS: usize = scan_copied::steps($dim);
            scan_copied::scan::<$element, _, $dim, $parts, STEPS>(turn, keys, target, ring, part)
        })
    };
}

/// Kernels for types and sizes of heads.
macro_rules! kernels {
    (
        $scan:ident, $min_blocks:ident, $trace:expr, $marks:tt:
        $($name:ident, $element:ty, $dim:literal;)*
    ) => {
        $(kernels!(one $scan, $min_blocks, $trace, $marks, $name, $element, $dim);)*
    };
    (
        one $scan:ident, $min_blocks:ident, $trace:expr, ($($marks:ident)?),
        $name:ident, $element:ty, $dim:literal
    ) => {
        /// Attention of the newest position of each sequence, with the exact softmax over all its
        /// keys and a sum over some of its rows of V: the first `sinks` positions, the last
        /// `window`, and between them the `top` that their group of query heads values most by
        /// `group_score`, a [`GroupScore`](crate::select_rows::GroupScore), of equal ones the first
        /// and NaN above all; of these, where `p` is below 1, the fewest that make the rows hold the
        /// probability `p` summed over the group.
        ///
        /// Results:
        /// - `out [sequences, q_heads, dim]`, with the probability of the other rows treated as
        ///   `weighting` says, a [`Weighting`](crate::v_combine::Weighting);
        /// - `counts [sequences, kv_heads]`: the rows summed;
        /// - at the address in `traffic [sequences]`, `[COUNTS]` to which are added the rows summed,
        ///   those of them that were hot, and those fetched through `v_table`.
        ///
        /// Inputs:
        /// - `q [sequences, q_heads, dim]`; `lengths [sequences]`; a sequence of length 0 is left
        ///   alone;
        /// - K and V in blocks whose addresses row `s` of `k_table` and `v_table [sequences,
        ///   table_stride]` holds; V of the first `sinks` and the last `window` positions is not
        ///   read there, so that it may still be on its way;
        /// - `totals [sequences]`: addresses of `[kv_heads, dim]` that [`crate::v_total`] keeps, read only by
        ///   [`Weighting::MeanV`](crate::v_combine::Weighting::MeanV);
        /// - `memory [sequences, ADDRESSES]`: addresses of what a sequence has in device memory
        ///   beside K, each for all its KV heads:
        ///   0. near rows `[kv_heads, sinks + window, dim]`: V of position `p < sinks` in row `p`,
        ///      of one among the last `window` in row `sinks + p % window`;
        ///   1. hot rows `[kv_heads, slots, dim]`;
        ///   2. `slot_of [kv_heads, 64 · table_stride]` (16 bits), at first
        ///      [`NO_SLOT`](hot_rows::NO_SLOT);
        ///   3. `position_of [kv_heads, slots]` (32 bits), at first
        ///      [`NO_POSITION`](hot_rows::NO_POSITION);
        ///   4. `order [kv_heads, slots]` (16 bits), at first 0, 1, 2, ….
        ///
        ///   The kernel keeps 1 to 4; with 0 slots they are not touched. A position that V changes
        ///   at must lose its slot before the next launch.
        ///
        /// Room to work, which no other launch uses at the same time:
        /// - `scores [sequences, q_heads, score_stride]`, of which `lengths[s]` are the scores
        ///   afterwards; `score_stride` is a multiple of 64;
        /// - `maxima [sequences, q_heads, score_stride / RUN]`;
        /// - `masses [sequences, kv_heads, score_stride]`, or null where each query head has a KV
        ///   head of its own;
        /// - `partials [sequences, q_heads, splits, 2]`;
        /// - `rows [sequences, kv_heads, row_stride, 2]`, `row_stride` at least `top` or the
        ///   longest length: afterwards the selected positions between sinks and window, ascending,
        ///   each with its slot, see [`hot_rows`];
        /// - `arrivals [sequences, kv_heads]`: 0 before the first launch, and again after each.
        ///
        /// The traced kernels write to `marks [sequences, kv_heads, splits, MARKS]` when their blocks passed which
        /// [`Mark`]; words of a block that does not come there are left as they are.
        ///
        /// Grid `(splits, kv_heads, sequences)` where each block scores `split` positions, a
        /// multiple of 64, and `splits · split` is at least the longest length; block `(THREADS)`;
        /// dynamic shared memory [`shared_bytes`]. `candidates` positions are ranked in shared
        /// memory: any number is right, about 16 for each of `top` is fast; with `p` below 1 at
        /// least a third of `top`. At most [`MAX_GROUP`](crate::decode_scores::MAX_GROUP) query
        /// heads share a KV head; `slots` is at most 65 535.
        #[kernel(max_threads = THREADS, min_blocks = $min_blocks($dim))]
        pub fn $name(
            out: GlobalMut<$element>,
            traffic: Global<u64>,
            counts: GlobalMut<u32>,
            scores: GlobalMut<f32>,
            maxima: GlobalMut<f32>,
            masses: GlobalMut<f32>,
            partials: GlobalMut<f32>,
            rows: GlobalMut<u32>,
            arrivals: GlobalMut<u32>,
            q: Global<$element>,
            k_table: Global<u64>,
            v_table: Global<u64>,
            memory: Global<u64>,
            totals: Global<u64>,
            lengths: Global<u32>,
            q_heads: u32,
            score_stride: u32,
            row_stride: u32,
            table_stride: u32,
            split: u32,
            sinks: u32,
            window: u32,
            top: u32,
            p: f32,
            group_score: u32,
            weighting: u32,
            slots: u32,
            candidates: u32,
            scale: f32,
            $($marks: GlobalMut<u64>,)?
        ) {
            grid::release_next();
            let words = shared_array![u32; Words::COUNT + scan!(words $scan)];
            let words = Words(words);
            let arguments = Arguments {
                out, traffic, counts, scores, maxima, masses, partials, rows, arrivals, q, k_table, v_table,
                memory, totals, lengths, q_heads, score_stride, row_stride, table_stride, split,
                sinks, window, top, p, group_score, weighting, slots, candidates, scale,
                trace: $trace,
            };
            const PARTS: usize = $dim / PART as usize;
            scan!($scan, arguments, words, $element, $dim, PARTS);
        }
    };
}

kernels! { registers, min_blocks, Untraced, ():
    kcache_attention_64_bf16, bf16, 64;
    kcache_attention_96_bf16, bf16, 96;
    kcache_attention_128_bf16, bf16, 128;
    kcache_attention_256_bf16, bf16, 256;
    kcache_attention_64_f16, f16, 64;
    kcache_attention_96_f16, f16, 96;
    kcache_attention_128_f16, f16, 128;
    kcache_attention_256_f16, f16, 256;
}

#[cfg(any(hopper, not(target_arch = "nvptx64")))]
kernels! { copies, min_blocks_copied, Untraced, ():
    kcache_attention_copied_64_bf16, bf16, 64;
    kcache_attention_copied_96_bf16, bf16, 96;
    kcache_attention_copied_128_bf16, bf16, 128;
    kcache_attention_copied_256_bf16, bf16, 256;
    kcache_attention_copied_64_f16, f16, 64;
    kcache_attention_copied_96_f16, f16, 96;
    kcache_attention_copied_128_f16, f16, 128;
    kcache_attention_copied_256_f16, f16, 256;
}

kernels! { registers, min_blocks, Traced(marks), (marks):
    kcache_attention_traced_64_bf16, bf16, 64;
    kcache_attention_traced_96_bf16, bf16, 96;
    kcache_attention_traced_128_bf16, bf16, 128;
    kcache_attention_traced_256_bf16, bf16, 256;
}

#[cfg(any(hopper, not(target_arch = "nvptx64")))]
kernels! { copies, min_blocks_copied, Traced(marks), (marks):
    kcache_attention_copied_traced_64_bf16, bf16, 64;
    kcache_attention_copied_traced_96_bf16, bf16, 96;
    kcache_attention_copied_traced_128_bf16, bf16, 128;
    kcache_attention_copied_traced_256_bf16, bf16, 256;
}
