//! Rotary embedding, and the rows of a cache.

use gpu_kernels::kcache_attention::ADDRESSES;
use gpu_kernels::rope;
use half::bf16;
use kcache_models::config::RopeStyle;

use super::{check_lengths, function, sizes};
use crate::driver::{DeviceSlice, DeviceSliceMut, Function, Launch, Module, Result, Stream};

/// The kernels of `rope.rs`.
pub struct Kernels {
    halves: Function,
    neighbours: Function,
}

/// How rows are rotated, and where to.
#[derive(Clone, Copy)]
pub struct Rotation<'a> {
    pub style: RopeStyle,
    /// `[positions, dim]`: of each position the cosines, then the sines.
    pub angles: DeviceSlice<'a, f32>,
    /// One for each row, each less than the rows of `angles`.
    pub positions: DeviceSlice<'a, u32>,
    /// The number of each row's sequence, which tells its row of the tables.
    pub sequences: DeviceSlice<'a, u32>,
    /// Heads of a row of Q.
    pub q_heads: usize,
    /// Heads of a row of K and of V.
    pub kv_heads: usize,
    /// Elements of a head.
    pub dim: usize,
}

/// Rows of Q, K and V, not yet rotated, and where they go.
pub struct Append<'a> {
    pub q: DeviceSlice<'a, f32>,
    pub q_out: &'a DeviceSliceMut<'a, bf16>,
    pub k: DeviceSlice<'a, f32>,
    pub v: DeviceSlice<'a, f32>,
    /// Addresses of blocks.
    pub k_table: DeviceSlice<'a, u64>,
    /// Addresses of blocks.
    pub v_table: DeviceSlice<'a, u64>,
    /// Blocks from the tables of one sequence to those of the next.
    pub table_stride: usize,
    /// Where rows of V go as well.
    pub near: Option<Near<'a>>,
    /// For each sequence the address of `[kv_heads, dim]` sums that its row of V is added to.
    pub totals: Option<DeviceSlice<'a, u64>>,
}

/// Rows of V near the keys: sinks and window.
#[derive(Clone, Copy)]
pub struct Near<'a> {
    /// Of each sequence [`ADDRESSES`] addresses, the first that of the rows.
    pub memory: DeviceSlice<'a, u64>,
    /// The first position of the window.
    pub from: usize,
    pub sinks: usize,
    pub window: usize,
}

impl Kernels {
    pub fn load(module: &Module) -> Result<Self> {
        Ok(Self {
            halves: function(module, &rope::ROPE_HALVES_BF16)?,
            neighbours: function(module, &rope::ROPE_NEIGHBOURS_BF16)?,
        })
    }

    /// Rotates Q, and writes rows to their positions of a cache, K rotated.
    ///
    /// # Safety
    /// The positions are as [`Rotation::positions`] says; no two rows have one
    /// position of a sequence, and none have one sequence where there are totals; the
    /// tables hold the addresses of blocks for all of them.
    pub unsafe fn append(
        &self,
        rows: &Append<'_>,
        rotation: Rotation<'_>,
        stream: &Stream,
    ) -> Result<()> {
        let kernel = match rotation.style {
            RopeStyle::HalfSplit => &self.halves,
            RopeStyle::Interleaved => &self.neighbours,
        };
        let Rotation {
            positions,
            sequences,
            q_heads,
            kv_heads,
            dim,
            ..
        } = rotation;
        let count = positions.len();
        let (q_width, kv_width) = (q_heads * dim, kv_heads * dim);
        check_lengths(
            kernel,
            &[
                ("sequences", sequences.len(), count),
                ("q", rows.q.len(), count * q_width),
                ("q_out", rows.q_out.len(), count * q_width),
                ("k", rows.k.len(), count * kv_width),
                ("v", rows.v.len(), count * kv_width),
            ],
        )?;
        let [q_heads, kv_heads, dim] = sizes(kernel, [q_heads, kv_heads, dim])?;
        let [q_width, kv_width, count] = sizes(kernel, [q_width, kv_width, count])?;
        let [stride] = sizes(kernel, [rows.table_stride])?;
        let heads = q_heads + 2 * kv_heads;
        let grid = [heads.div_ceil(rope::HEADS_PER_BLOCK), count, 1];
        let launch = Launch::new(kernel, grid, [rope::THREADS, 1, 1]);
        let launch = launch.buffer_mut(rows.q_out).buffer(rows.q);
        let launch = launch.buffer(rows.k).buffer(rows.v).buffer(rotation.angles);
        let launch = launch.buffer(positions).buffer(sequences);
        let launch = launch.buffer(rows.k_table).buffer(rows.v_table);
        let launch = match rows.near {
            Some(near) => launch.buffer(near.memory),
            None => launch.address(0),
        };
        let launch = match rows.totals {
            Some(totals) => launch.buffer(totals),
            None => launch.address(0),
        };
        let near = rows
            .near
            .map_or([0; 3], |near| [near.from, near.sinks, near.window]);
        let [from, sinks, window] = sizes(kernel, near)?;
        let launch = launch.value(&q_heads).value(&kv_heads);
        let launch = launch.value(&dim).value(&dim);
        let launch = launch.value(&q_width).value(&kv_width).value(&stride);
        let launch = launch
            .value(&ADDRESSES)
            .value(&from)
            .value(&sinks)
            .value(&window);
        // SAFETY: the buffers were checked, and the caller vouches for the rest.
        unsafe { launch.run(stream) }
    }
}
