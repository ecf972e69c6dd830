//! Kernels that treat each row by itself.

use gpu_kernels::{elementwise, embedding, near_rows, rmsnorm, swiglu};
use half::bf16;

use super::{check_lengths, function, refused, sizes};
use crate::driver::{DeviceSlice, DeviceSliceMut, Function, Launch, Module, Result, Stream};

/// The kernels of `embedding.rs`, `rmsnorm.rs`, `swiglu.rs` and `elementwise.rs`.
pub struct Kernels {
    embed: Function,
    rms_norm: Function,
    swiglu: Function,
    add: Function,
    narrow: Function,
    near: Function,
}

impl Kernels {
    pub fn load(module: &Module) -> Result<Self> {
        Ok(Self {
            embed: function(module, &embedding::EMBED_BF16)?,
            rms_norm: function(module, &rmsnorm::RMSNORM_BF16)?,
            swiglu: function(module, &swiglu::SWIGLU_BF16)?,
            add: function(module, &elementwise::ADD)?,
            narrow: function(module, &elementwise::NARROW_BF16)?,
            near: function(module, &near_rows::NEAR_ROWS_BF16)?,
        })
    }

    /// `out[i] = table[ids[i]]`: `out [ids, width]`, `table [vocabulary, width]`.
    ///
    /// # Safety
    /// Every id is less than the vocabulary.
    pub unsafe fn embed(
        &self,
        out: &DeviceSliceMut<'_, f32>,
        table: DeviceSlice<'_, bf16>,
        ids: DeviceSlice<'_, u32>,
        width: usize,
        stream: &Stream,
    ) -> Result<()> {
        let kernel = &self.embed;
        check_lengths(kernel, &[("out", out.len(), ids.len() * width)])?;
        let [rows, width] = sizes(kernel, [ids.len(), width])?;
        let launch = Launch::new(kernel, [rows, 1, 1], [embedding::THREADS, 1, 1])
            .buffer_mut(out)
            .buffer(table)
            .buffer(ids)
            .value(&width);
        // SAFETY: `out` was checked, and the caller vouches for the ids.
        unsafe { launch.run(stream) }
    }

    /// `out = x / sqrt(mean(x²) + eps) · weight`: `out`, `x` `[rows, width]`, `weight [width]`.
    pub fn rms_norm(
        &self,
        out: &DeviceSliceMut<'_, bf16>,
        x: DeviceSlice<'_, f32>,
        weight: DeviceSlice<'_, f32>,
        eps: f32,
        stream: &Stream,
    ) -> Result<()> {
        let kernel = &self.rms_norm;
        let width = weight.len();
        let rows = x.len() / width.max(1);
        check_width(kernel, width)?;
        check_lengths(kernel, &[("out", out.len(), x.len())])?;
        let [rows, width] = sizes(kernel, [rows, width])?;
        let launch = Launch::new(kernel, [rows, 1, 1], [rmsnorm::THREADS, 1, 1])
            .buffer_mut(out)
            .buffer(x)
            .buffer(weight)
            .value(&width)
            .value(&eps);
        // SAFETY: whole rows of `x`, for which `out` has room.
        unsafe { launch.run(stream) }
    }

    /// `out = silu(gate) · up`, all `[rows, width]`.
    pub fn swiglu(
        &self,
        out: &DeviceSliceMut<'_, bf16>,
        gate: DeviceSlice<'_, f32>,
        up: DeviceSlice<'_, f32>,
        width: usize,
        stream: &Stream,
    ) -> Result<()> {
        let kernel = &self.swiglu;
        let count = gate.len();
        check_width(kernel, width)?;
        check_lengths(
            kernel,
            &[("out", out.len(), count), ("up", up.len(), count)],
        )?;
        let [rows, width] = sizes(kernel, [count / width, width])?;
        let blocks = width.div_ceil(4 * swiglu::THREADS);
        let launch = Launch::new(kernel, [blocks, rows, 1], [swiglu::THREADS, 1, 1])
            .buffer_mut(out)
            .buffer(gate)
            .buffer(up)
            .value(&width)
            .value(&width);
        // SAFETY: whole rows of `gate`, which the others have too.
        unsafe { launch.run(stream) }
    }

    /// `x += y`.
    pub fn add(
        &self,
        x: &DeviceSliceMut<'_, f32>,
        y: DeviceSlice<'_, f32>,
        stream: &Stream,
    ) -> Result<()> {
        let kernel = &self.add;
        check_lengths(kernel, &[("y", y.len(), x.len())])?;
        let count = x.len() as u64;
        let launch = elements(kernel, x.len())?
            .buffer_mut(x)
            .buffer(y)
            .value(&count);
        // SAFETY: both have `count` elements.
        unsafe { launch.run(stream) }
    }

    /// `out = x`, rounded.
    pub fn narrow(
        &self,
        out: &DeviceSliceMut<'_, bf16>,
        x: DeviceSlice<'_, f32>,
        stream: &Stream,
    ) -> Result<()> {
        let kernel = &self.narrow;
        check_lengths(kernel, &[("out", out.len(), x.len())])?;
        let count = x.len() as u64;
        let launch = elements(kernel, x.len())?
            .buffer_mut(out)
            .buffer(x)
            .value(&count);
        // SAFETY: both have `count` elements.
        unsafe { launch.run(stream) }
    }

    /// Brings the first `sinks` rows of V and the last `window` of a sequence of
    /// `length` positions to `near`, the address of `[kv_heads, sinks + window, dim]`.
    ///
    /// # Safety
    /// `near` is as said, and `table` has the addresses of blocks for all positions.
    pub unsafe fn near(
        &self,
        near: u64,
        table: DeviceSlice<'_, u64>,
        [length, sinks, window]: [usize; 3],
        [kv_heads, dim]: [usize; 2],
        stream: &Stream,
    ) -> Result<()> {
        let kernel = &self.near;
        let [length, sinks, window, kv_heads, dim] =
            sizes(kernel, [length, sinks, window, kv_heads, dim])?;
        let grid = [kv_heads, sinks + window, 1];
        let launch = Launch::new(kernel, grid, [near_rows::THREADS, 1, 1])
            .address(near)
            .buffer(table)
            .value(&length)
            .value(&sinks)
            .value(&window)
            .value(&dim);
        // SAFETY: the caller's promise.
        unsafe { launch.run(stream) }
    }
}

/// A launch of a kernel of `elementwise.rs` over `count` elements.
fn elements(kernel: &Function, count: usize) -> Result<Launch<'_>> {
    check_width(kernel, count)?;
    let [blocks] = sizes(kernel, [count.div_ceil(4 * elementwise::THREADS as usize)])?;
    Ok(Launch::new(
        kernel,
        [blocks, 1, 1],
        [elementwise::THREADS, 1, 1],
    ))
}

/// These kernels take four elements at a time.
fn check_width(kernel: &Function, width: usize) -> Result<()> {
    if width == 0 || !width.is_multiple_of(4) {
        return Err(refused(
            kernel.name(),
            format!("{width} elements, where a multiple of 4 is needed"),
        ));
    }
    Ok(())
}
