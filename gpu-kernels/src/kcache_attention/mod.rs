//! Decode attention with V in host memory, in one launch.
//!
//! The blocks of a pair, one KV head of one sequence, score parts of its keys ([`scan`]). The last
//! of them to finish does the rest while blocks of other pairs go on scanning: it merges the softmax,
//! selects rows of V exactly ([`select`]), looks up which of them are hot and makes room for the
//! others ([`hot_rows`]), sums them from wherever they lie ([`gather`]) and writes the output
//! ([`output`]). A block that waits for host memory leaves the multiprocessor to its neighbours.

use cuda_std::{
    Float16, Global, GlobalMut, Shared, U32x2, bf16, dynamic_shared, f16, kernel, shared_array,
    thread, warp,
};

use crate::decode_scores::{MAX_GROUP, PART, load_queries};
use crate::softmax::{merge_partials, write_partials};
use crate::top_n::SCRATCH;

pub mod hot_rows;

mod gather;
mod output;
mod scan;
mod scores;
mod select;

pub use scores::RUN;

/// Threads of a block.
pub const THREADS: u32 = 128;

/// Warps of a block.
const WARPS: u32 = THREADS / warp::SIZE;

/// Blocks that should share a multiprocessor.
const MIN_BLOCKS: u32 = 4;

/// The most candidates that are ranked in shared memory.
const MAX_CANDIDATES: u32 = 8192;

/// Addresses that row `s` of `memory` holds.
pub const ADDRESSES: u32 = 5;

/// Bytes of dynamic shared memory, for heads of `dim` elements, `candidates` and `slots`.
pub const fn shared_bytes(dim: u32, candidates: u32, slots: u32) -> u32 {
    let sizes = [
        gather::shared_bytes(dim),
        select::shared_bytes(candidates),
        hot_rows::shared_bytes(slots),
    ];
    let larger = if sizes[1] > sizes[2] {
        sizes[1]
    } else {
        sizes[2]
    };
    if larger > sizes[0] { larger } else { sizes[0] }
}

/// Candidates for `top` rows that the shared memory of the sum has room for anyway, or, for many
/// rows, a few more than those.
pub const fn candidates(dim: u32, top: u32) -> u32 {
    let free = gather::shared_bytes(dim) / select::shared_bytes(1);
    let wanted = top + top / 2;
    if wanted < free {
        free
    } else if wanted < MAX_CANDIDATES {
        wanted
    } else {
        MAX_CANDIDATES
    }
}

/// One KV head of one sequence.
struct Pair {
    sequence: usize,
    kv_head: u32,
    /// Its place among all.
    index: usize,
    /// Its first query head among all.
    head: usize,
    /// Query heads that share it.
    group: u32,
    /// Positions of the sequence.
    length: u32,
    /// First positions that are always selected.
    sinks: u32,
}

/// The arguments of the kernels, which document them.
struct Arguments<T> {
    out: GlobalMut<T>,
    scores: GlobalMut<f32>,
    maxima: GlobalMut<f32>,
    partials: GlobalMut<f32>,
    rows: GlobalMut<u32>,
    arrivals: GlobalMut<u32>,
    traffic: Global<u64>,
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
    top: u32,
    window: u32,
    slots: u32,
    candidates: u32,
    group_score: u32,
    weighting: u32,
    scale: f32,
}

/// Static shared memory: the softmaxes of the warps, those of the heads, room to rank, a counter.
#[derive(Clone, Copy)]
struct Words(Shared<u32>);

impl Words {
    const STATS: u32 = 2 * WARPS * MAX_GROUP;
    const SCRATCH: u32 = Self::STATS + 2 * MAX_GROUP;
    const ARRIVED: u32 = Self::SCRATCH + SCRATCH;
    const COUNT: u32 = Self::ARRIVED + 1;

    #[inline(always)]
    fn softmaxes(self) -> Shared<U32x2> {
        self.0.cast()
    }

    #[inline(always)]
    fn stats(self) -> Shared<U32x2> {
        self.0.offset(Self::STATS).cast()
    }

    #[inline(always)]
    fn scratch(self) -> Shared<u32> {
        self.0.offset(Self::SCRATCH)
    }

    #[inline(always)]
    fn arrived(self) -> Shared<u32> {
        self.0.offset(Self::ARRIVED)
    }
}

impl<T: Float16> Arguments<T> {
    #[inline(always)]
    fn pair(&self) -> Pair {
        let (kv_head, kv_heads) = (thread::block_idx_y(), thread::grid_dim_y());
        let sequence = thread::block_idx_z() as usize;
        let group = self.q_heads / kv_heads;
        Pair {
            sequence,
            kv_head,
            index: sequence * kv_heads as usize + kv_head as usize,
            head: sequence * self.q_heads as usize + (kv_head * group) as usize,
            group,
            length: self.lengths.read(sequence),
            sinks: self.sinks,
        }
    }

    #[inline(always)]
    fn pair_scores(&self, pair: &Pair) -> scores::Scores {
        let runs = (self.score_stride / RUN) as usize;
        scores::Scores {
            all: self.scores.offset(pair.head * self.score_stride as usize),
            maxima: self.maxima.offset(pair.head * runs),
            stride: self.score_stride,
            group: pair.group,
        }
    }

    /// Scores the block's part of the keys and writes its share of the softmax.
    #[inline(always)]
    fn scan<const DIM: u32, const PARTS: usize, const STEPS: usize>(
        &self,
        pair: &Pair,
        partials: GlobalMut<U32x2>,
        shared: Shared<U32x2>,
    ) {
        let q = self.q.offset(pair.head * DIM as usize);
        let q = load_queries::<T, DIM, PARTS>(q, pair.group);
        let table = self
            .k_table
            .offset(pair.sequence * self.table_stride as usize);
        let keys = scan::Keys::<T>::new::<DIM>(table, pair);
        let target = scan::Target {
            scores: self.pair_scores(pair),
            length: pair.length,
            scale: self.scale,
        };
        let first = thread::block_idx_x() * self.split;
        let part = (first, first + self.split);
        let softmax = scan::scan::<T, DIM, PARTS, STEPS>(&q, &keys, &target, part);
        let (partials, splits) = (
            partials.offset(thread::block_idx_x() as usize),
            thread::grid_dim_x(),
        );
        write_partials(partials, shared, softmax, (pair.group, MAX_GROUP), splits);
    }

    /// Whether this block is the last of its pair's `blocks` to come here. Then it sees what the
    /// others wrote, and the counter is 0 again for the next launch.
    #[inline(always)]
    fn is_last(&self, pair: &Pair, blocks: u32, arrived: Shared<u32>) -> bool {
        thread::sync_threads();
        if thread::thread_idx_x() == 0 {
            let before = self.arrivals.atomic_add_acquire_release(pair.index, 1);
            if before + 1 == blocks {
                self.arrivals.write(pair.index, 0);
            }
            arrived.write(0, before + 1);
        }
        thread::sync_threads();
        arrived.read(0) == blocks
    }

    /// The rows of V of a pair, selected and looked up.
    #[inline(always)]
    fn sources<const DIM: u32>(
        &self,
        pair: &Pair,
        weights: &scores::Weights,
        scratch: Shared<u32>,
    ) -> gather::Sources<T> {
        let first = self.sinks.min(pair.length);
        let end = pair.length.saturating_sub(self.window).max(first);
        let range = select::Range { first, end };
        let chosen = self.top.min(end - first);
        let rows = self
            .rows
            .cast::<U32x2>()
            .offset(pair.index * self.row_stride as usize);
        let selection = select::Selection {
            weights: *weights,
            shared: dynamic_shared(0),
            capacity: self.candidates,
            scratch,
        };
        selection.select(range, chosen, rows);
        thread::sync_threads();

        let memory = self.memory.offset(pair.sequence * ADDRESSES as usize);
        let kv_head = pair.kv_head as usize;
        let hot = kv_head * self.slots as usize;
        let mut hits = 0;
        if self.slots > 0 {
            let positions = kv_head * self.table_stride as usize * crate::KV_BLOCK as usize;
            let index = hot_rows::HotRows {
                slot_of: GlobalMut::from_address(memory.read(2)).offset(positions),
                position_of: GlobalMut::from_address(memory.read(3)).offset(hot),
                order: GlobalMut::from_address(memory.read(4)).offset(hot),
                slots: self.slots,
            };
            let counts = scratch.offset(SCRATCH - crate::reduce::MAX_WARPS);
            hits = index.update(rows, chosen, dynamic_shared(0), counts).hits;
        }
        let near = kv_head * (self.sinks + self.window) as usize * DIM as usize;
        let sources = gather::Sources {
            rows,
            range,
            chosen,
            near: Global::from_address(memory.read(0)).offset(near),
            window: self.window,
            hot: GlobalMut::from_address(memory.read(1)).offset(hot * DIM as usize),
            table: self
                .v_table
                .offset(pair.sequence * self.table_stride as usize),
        };
        if thread::thread_idx_x() == 0 {
            let traffic = GlobalMut::<u64>::from_address(self.traffic.read(pair.sequence));
            let add = |i, rows: u32| traffic.atomic_add(i, u64::from(rows));
            add(0, sources.count(pair.length));
            add(1, hits);
            add(2, chosen - hits);
        }
        sources
    }

    #[inline(always)]
    fn attend<const DIM: u32, const PARTS: usize, const STEPS: usize, const TILES: usize>(
        &self,
        words: Words,
    ) {
        let pair = self.pair();
        if thread::block_idx_x() * self.split >= pair.length {
            return;
        }
        let splits = thread::grid_dim_x();
        let partials = self
            .partials
            .cast::<U32x2>()
            .offset(pair.head * splits as usize);
        self.scan::<DIM, PARTS, STEPS>(&pair, partials, words.softmaxes());
        let blocks = pair.length.div_ceil(self.split);
        if !self.is_last(&pair, blocks, words.arrived()) {
            return;
        }
        merge_partials(
            words.stats(),
            partials.as_const(),
            pair.group,
            (blocks, splits),
        );
        let weights = scores::Weights {
            scores: self.pair_scores(&pair),
            stats: words.stats(),
            group_score: self.group_score,
        };
        let sources = self.sources::<DIM>(&pair, &weights, words.scratch());
        let kept = words.scratch().cast();
        let sums =
            gather::gather::<T, DIM, TILES>(&sources, &weights, &pair, dynamic_shared(0), kept);
        let rest = output::Rest {
            weighting: self.weighting,
            totals: self.totals.offset(pair.sequence),
            kept,
        };
        rest.write::<T, DIM, TILES>(self.out.offset(pair.head * DIM as usize), &sums, &pair);
    }
}

macro_rules! kernels {
    ($($name:ident, $element:ty, $dim:literal;)*) => {$(
        /// Attention of the newest position of each sequence: exact softmax over all its keys, the
        /// sum over the first `sinks` positions, the last `window`, and between them the `top` that
        /// their group of query heads values most.
        #[kernel(max_threads = THREADS, min_blocks = MIN_BLOCKS)]
        pub fn $name(
            out: GlobalMut<$element>,
            scores: GlobalMut<f32>,
            maxima: GlobalMut<f32>,
            partials: GlobalMut<f32>,
            rows: GlobalMut<u32>,
            arrivals: GlobalMut<u32>,
            traffic: Global<u64>,
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
            top: u32,
            window: u32,
            slots: u32,
            candidates: u32,
            group_score: u32,
            weighting: u32,
            scale: f32,
        ) {
            let words = Words(shared_array![u32; Words::COUNT]);
            Arguments {
                out, scores, maxima, partials, rows, arrivals, traffic, q, k_table, v_table, memory,
                totals, lengths, q_heads, score_stride, row_stride, table_stride, split, sinks, top,
                window, slots, candidates, group_score, weighting, scale,
            }
            .attend::<$dim, { $dim / PART as usize }, { scan::steps($dim) }, { usize::div_ceil($dim, 64) }>(words);
        }
    )*};
}

kernels! {
    kcache_attention_64_bf16, bf16, 64;
    kcache_attention_96_bf16, bf16, 96;
    kcache_attention_128_bf16, bf16, 128;
    kcache_attention_256_bf16, bf16, 256;
    kcache_attention_64_f16, f16, 64;
    kcache_attention_96_f16, f16, 96;
    kcache_attention_128_f16, f16, 128;
    kcache_attention_256_f16, f16, 256;
}
