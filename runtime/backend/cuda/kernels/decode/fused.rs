//! Attention of far layers that select rows: one launch.

use cuda_std::Kernel;
use gpu_kernels::kcache_attention::{self as fused, ADDRESSES, MARKS, RUN, THREADS};
use gpu_kernels::select_rows::GroupScore;
use gpu_kernels::v_combine::Weighting;
use half::bf16;

use super::super::{ByHead, Library, check_lengths, sizes};
use super::{Sequences, Shape};
use crate::driver::{DeviceSlice, DeviceSliceMut, Launch, Result, Stream};

/// Positions that one block scores.
pub const SPLIT: usize = 512;

/// What the blocks of a launch leave for each other.
pub struct FusedWorkspace<'a> {
    /// `[sequences, q_heads, capacity]`.
    pub scores: DeviceSliceMut<'a, f32>,
    /// `[sequences, q_heads, capacity / RUN]`.
    pub maxima: DeviceSliceMut<'a, f32>,
    /// `[sequences, kv_heads, capacity]` where query heads share KV heads, else empty.
    pub masses: DeviceSliceMut<'a, f32>,
    /// `[sequences, q_heads, splits, 2]`.
    pub partials: DeviceSliceMut<'a, f32>,
    /// `[sequences, kv_heads, top, 2]`.
    pub rows: DeviceSliceMut<'a, u32>,
    /// `[sequences, kv_heads]`, zero before and after.
    pub arrivals: DeviceSliceMut<'a, u32>,
    /// `[sequences, kv_heads]`: rows summed.
    pub counts: DeviceSliceMut<'a, u32>,
}

/// Which rows of V are summed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Selection {
    pub sinks: usize,
    pub window: usize,
    pub top: usize,
    /// Of those, the fewest with which all rows hold this probability, if below 1.
    pub p: f32,
    pub group_score: GroupScore,
}

impl Selection {
    /// Rows of a KV head, at most.
    pub fn room(&self) -> usize {
        self.sinks + self.window + self.top
    }
}

/// How the rows that were left out count.
#[derive(Clone, Copy)]
pub struct Rest<'a> {
    pub weighting: Weighting,
    /// For each sequence the address of the sum of all of its rows,
    /// `[kv_heads, dim]`, which the mean is made from.
    pub totals: DeviceSlice<'a, u64>,
}

/// Where the rows of V are.
#[derive(Clone, Copy)]
pub struct Places<'a> {
    /// Addresses of near and hot rows with their index, `[sequences, ADDRESSES]`.
    pub memory: DeviceSlice<'a, u64>,
    /// Addresses of three counters of each sequence: rows used, hot, fetched.
    pub traffic: DeviceSlice<'a, u64>,
    /// Hot rows of a KV head.
    pub slots: usize,
}

/// Elements of the workspace's buffers, in their order.
pub fn workspace_sizes(shape: Shape, top: usize) -> [usize; 6] {
    let (queries, pairs) = (shape.queries(), shape.pairs());
    let shared = shape.q_heads > shape.kv_heads;
    [
        queries * shape.capacity,
        queries * shape.capacity / RUN as usize,
        if shared { pairs * shape.capacity } else { 0 },
        queries * splits(shape) * 2,
        pairs * top * 2,
        pairs,
    ]
}

/// Words that the blocks of a traced launch write: [`MARKS`] of each.
pub fn mark_words(shape: Shape) -> usize {
    splits(shape) * shape.pairs() * MARKS
}

fn splits(shape: Shape) -> usize {
    shape.capacity.div_ceil(SPLIT)
}

/// Kernels of `kcache_attention` that scan keys in one way.
pub struct Kernels {
    by_head: ByHead,
    /// The same with marks.
    traced: ByHead,
    /// Bytes of shared memory for a size of heads, candidates and slots.
    shared_bytes: fn(u32, u32, u32) -> u32,
}

impl Kernels {
    /// Those that hold keys in registers.
    pub fn registers(library: &Library) -> Self {
        Self {
            by_head: ByHead::all(library, REGISTERS),
            traced: ByHead::all(library, REGISTERS_TRACED),
            shared_bytes: fused::shared_bytes,
        }
    }

    /// Those that copy keys to shared memory.
    pub fn copies(library: &Library) -> Self {
        Self {
            by_head: ByHead::all(library, COPIES),
            traced: ByHead::all(library, COPIES_TRACED),
            shared_bytes: fused::shared_bytes_copied,
        }
    }

    /// Compiles the kernel for heads of a size.
    pub fn prepare(&self, dim: usize) -> Result<()> {
        self.by_head.of(dim).map(|_| ())
    }

    /// Compiles those with marks for heads that there are others for.
    pub fn prepare_traced(&self) -> Result<()> {
        let mut sizes = self.by_head.compiled();
        sizes.try_for_each(|dim| self.traced.of(dim).map(|_| ()))
    }
}

/// The kernels that hold keys in registers.
const REGISTERS: [&Kernel; 4] = [
    &fused::KCACHE_ATTENTION_64_BF16,
    &fused::KCACHE_ATTENTION_96_BF16,
    &fused::KCACHE_ATTENTION_128_BF16,
    &fused::KCACHE_ATTENTION_256_BF16,
];

/// The same with marks.
const REGISTERS_TRACED: [&Kernel; 4] = [
    &fused::KCACHE_ATTENTION_TRACED_64_BF16,
    &fused::KCACHE_ATTENTION_TRACED_96_BF16,
    &fused::KCACHE_ATTENTION_TRACED_128_BF16,
    &fused::KCACHE_ATTENTION_TRACED_256_BF16,
];

/// Those that copy keys to shared memory.
const COPIES: [&Kernel; 4] = [
    &fused::KCACHE_ATTENTION_COPIED_64_BF16,
    &fused::KCACHE_ATTENTION_COPIED_96_BF16,
    &fused::KCACHE_ATTENTION_COPIED_128_BF16,
    &fused::KCACHE_ATTENTION_COPIED_256_BF16,
];

/// The same with marks.
const COPIES_TRACED: [&Kernel; 4] = [
    &fused::KCACHE_ATTENTION_COPIED_TRACED_64_BF16,
    &fused::KCACHE_ATTENTION_COPIED_TRACED_96_BF16,
    &fused::KCACHE_ATTENTION_COPIED_TRACED_128_BF16,
    &fused::KCACHE_ATTENTION_COPIED_TRACED_256_BF16,
];

impl Kernels {
    /// Attention of `q` over the rows that `selection` takes: both `q` and `out`
    /// `[sequences, q_heads, dim]`. Where there are `marks`, [`mark_words`], the traced kernel does it.
    ///
    /// # Safety
    /// `sequences`, `places` and the totals of `rest` have the addresses of what
    /// they say, for lengths of at most the shape's capacity, which is whole
    /// blocks; rows of the window and sinks are near.
    #[expect(clippy::too_many_arguments, reason = "each is of a kind of its own")]
    pub unsafe fn run(
        &self,
        work: &FusedWorkspace<'_>,
        shape: Shape,
        (q, out): (DeviceSlice<'_, bf16>, &DeviceSliceMut<'_, bf16>),
        (selection, rest): (Selection, Rest<'_>),
        (sequences, places): (Sequences<'_>, Places<'_>),
        marks: Option<&DeviceSliceMut<'_, u64>>,
        stream: &Stream,
    ) -> Result<()> {
        let kernels = match marks {
            Some(_) => &self.traced,
            None => &self.by_head,
        };
        let kernel = kernels.of(shape.dim)?;
        let needed = workspace_sizes(shape, selection.top);
        let width = shape.queries() * shape.dim;
        let tables = shape.sequences * shape.table_stride;
        let memory = shape.sequences * ADDRESSES as usize;
        let totals = rest.totals;
        check_lengths(
            kernel,
            &[
                ("q", q.len(), width),
                ("out", out.len(), width),
                ("scores", work.scores.len(), needed[0]),
                ("maxima", work.maxima.len(), needed[1]),
                ("masses", work.masses.len(), needed[2]),
                ("partials", work.partials.len(), needed[3]),
                ("rows", work.rows.len(), needed[4]),
                ("arrivals", work.arrivals.len(), needed[5]),
                ("counts", work.counts.len(), shape.pairs()),
                ("lengths", sequences.lengths.len(), shape.sequences),
                ("k_table", sequences.k_table.len(), tables),
                ("v_table", sequences.v_table.len(), tables),
                ("memory", places.memory.len(), memory),
                ("traffic", places.traffic.len(), shape.sequences),
                ("totals", totals.len(), shape.sequences),
                (
                    "marks",
                    marks.map_or(usize::MAX, |m| m.len()),
                    mark_words(shape),
                ),
            ],
        )?;
        let [dim, q_heads, kv_heads, sequence_count] = sizes(
            kernel,
            [shape.dim, shape.q_heads, shape.kv_heads, shape.sequences],
        )?;
        let [capacity, table_stride, split, splits] = sizes(
            kernel,
            [shape.capacity, shape.table_stride, SPLIT, splits(shape)],
        )?;
        let [sinks, top, window, slots] = sizes(
            kernel,
            [
                selection.sinks,
                selection.top,
                selection.window,
                places.slots,
            ],
        )?;
        let candidates = fused::candidates(dim, top);
        let (group_score, weighting) = (selection.group_score as u32, rest.weighting as u32);
        let p = selection.p;
        let scale = (shape.dim as f32).sqrt().recip();
        let grid = [splits, kv_heads, sequence_count];
        let mut launch = Launch::new(kernel, grid, [THREADS, 1, 1])
            .shared_bytes((self.shared_bytes)(dim, candidates, slots))
            .buffer_mut(out)
            .buffer(places.traffic)
            .buffer_mut(&work.counts)
            .buffer_mut(&work.scores)
            .buffer_mut(&work.maxima)
            .buffer_mut(&work.masses)
            .buffer_mut(&work.partials)
            .buffer_mut(&work.rows)
            .buffer_mut(&work.arrivals)
            .buffer(q)
            .buffer(sequences.k_table)
            .buffer(sequences.v_table)
            .buffer(places.memory)
            .buffer(totals)
            .buffer(sequences.lengths)
            .value(&q_heads)
            .value(&capacity)
            .value(&top)
            .value(&table_stride)
            .value(&split)
            .value(&sinks)
            .value(&window)
            .value(&top)
            .value(&p)
            .value(&group_score)
            .value(&weighting)
            .value(&slots)
            .value(&candidates)
            .value(&scale);
        if let Some(marks) = marks {
            launch = launch.buffer_mut(marks);
        }
        // SAFETY: the buffers were checked; the caller vouches for the rest.
        unsafe { launch.run(stream) }
    }
}
