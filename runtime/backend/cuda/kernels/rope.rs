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
    /// Heads of a row.
    pub heads: usize,
    /// Elements of a head.
    pub dim: usize,
}

/// Rows of K, not yet rotated, and V, and the blocks that they go to.
pub struct Append<'a> {
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

    fn of(&self, style: RopeStyle) -> &Function {
        match style {
            RopeStyle::HalfSplit => &self.halves,
            RopeStyle::Interleaved => &self.neighbours,
        }
    }

    /// `out = x`, rotated: both `[rows, heads, dim]`.
    ///
    /// # Safety
    /// The positions are as [`Rotation::positions`] says, and the sequences zero.
    pub unsafe fn rotate(
        &self,
        out: &DeviceSliceMut<'_, bf16>,
        x: DeviceSlice<'_, f32>,
        rotation: Rotation<'_>,
        stream: &Stream,
    ) -> Result<()> {
        let kernel = self.of(rotation.style);
        let count = rotation.floats();
        rotation.check(kernel, &[("out", out.len(), count), ("x", x.len(), count)])?;
        let [heads, dim, width] = rotation.sizes(kernel)?;
        let launch = rotation.launch(kernel, rotation.heads)?;
        let launch = launch.buffer_mut(out).buffer(x).address(0).address(0);
        let launch = rotation.places(launch).address(0).address(0).address(0);
        let launch = launch.value(&heads).value(&0u32).value(&dim).value(&dim);
        let launch = launch.value(&width).value(&0u32).value(&0u32);
        let launch = launch.value(&0u32).value(&0u32).value(&0u32).value(&0u32);
        // SAFETY: both buffers were checked, there are no heads of K and V, and
        // the caller vouches for the rest.
        unsafe { launch.run(stream) }
    }

    /// Writes rows to their positions of a cache, K rotated.
    ///
    /// # Safety
    /// As [`Kernels::rotate`]; no two rows have one position; the tables hold
    /// the addresses of blocks for all of them.
    pub unsafe fn append(
        &self,
        rows: &Append<'_>,
        rotation: Rotation<'_>,
        stream: &Stream,
    ) -> Result<()> {
        let kernel = self.of(rotation.style);
        let count = rotation.floats();
        rotation.check(
            kernel,
            &[("k", rows.k.len(), count), ("v", rows.v.len(), count)],
        )?;
        let [heads, dim, width] = rotation.sizes(kernel)?;
        let launch = rotation.launch(kernel, 2 * rotation.heads)?;
        let launch = launch.address(0).address(0).buffer(rows.k).buffer(rows.v);
        let launch = rotation.places(launch);
        let launch = launch.buffer(rows.k_table).buffer(rows.v_table);
        let launch = match rows.near {
            Some(near) => launch.buffer(near.memory),
            None => launch.address(0),
        };
        let near = rows
            .near
            .map_or([0; 3], |near| [near.from, near.sinks, near.window]);
        let [from, sinks, window] = sizes(kernel, near)?;
        let launch = launch.value(&0u32).value(&heads).value(&dim).value(&dim);
        let [stride] = sizes(kernel, [rows.table_stride])?;
        let launch = launch.value(&0u32).value(&width).value(&stride);
        let launch = launch
            .value(&ADDRESSES)
            .value(&from)
            .value(&sinks)
            .value(&window);
        // SAFETY: both buffers were checked, there are no heads of Q, and the
        // caller vouches for the rest.
        unsafe { launch.run(stream) }
    }
}

impl<'a> Rotation<'a> {
    fn floats(&self) -> usize {
        self.positions.len() * self.heads * self.dim
    }

    fn check(&self, kernel: &Function, buffers: &[(&str, usize, usize)]) -> Result<()> {
        let rows = self.positions.len();
        check_lengths(kernel, &[("sequences", self.sequences.len(), rows)])?;
        check_lengths(kernel, buffers)
    }

    fn sizes(&self, kernel: &Function) -> Result<[u32; 3]> {
        sizes(kernel, [self.heads, self.dim, self.heads * self.dim])
    }

    fn launch<'f>(&self, kernel: &'f Function, heads: usize) -> Result<Launch<'f>> {
        let [heads, rows] = sizes(kernel, [heads, self.positions.len()])?;
        let grid = [heads.div_ceil(rope::HEADS_PER_BLOCK), rows, 1];
        Ok(Launch::new(kernel, grid, [rope::THREADS, 1, 1]))
    }

    fn places<'l>(&self, launch: Launch<'l>) -> Launch<'l>
    where
        'a: 'l,
    {
        launch
            .buffer(self.angles)
            .buffer(self.positions)
            .buffer(self.sequences)
    }
}
