//! The sum of all rows of V without weights.

use gpu_kernels::v_total::{COLUMNS, THREADS};

use super::super::{check_lengths, sizes};
use super::Kernels;
use crate::driver::{DeviceSlice, Launch, Result, Stream};

impl Kernels {
    /// Adds rows of V, `v [rows, width]`, to the totals of their sequences:
    /// `totals [sequences]` holds the addresses of `width` floats, and the rows
    /// of sequence `s` are those from `starts[s]` to `starts[s + 1]`.
    ///
    /// # Safety
    /// `totals` and `starts` are as said.
    pub unsafe fn total(
        &self,
        totals: DeviceSlice<'_, u64>,
        v: DeviceSlice<'_, f32>,
        starts: DeviceSlice<'_, u32>,
        width: usize,
        stream: &Stream,
    ) -> Result<()> {
        let kernel = &self.total;
        check_lengths(kernel, &[("starts", starts.len(), totals.len() + 1)])?;
        let [width, sequences] = sizes(kernel, [width, totals.len()])?;
        let grid = [width.div_ceil(COLUMNS), sequences, 1];
        let launch = Launch::new(kernel, grid, [THREADS, 1, 1])
            .buffer(totals)
            .buffer(v)
            .buffer(starts)
            .value(&width)
            .value(&width);
        // SAFETY: the caller vouches for the totals and the starts.
        unsafe { launch.run(stream) }
    }
}
