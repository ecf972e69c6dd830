//! From the weighted sums of the selected rows to the output of attention.

use cuda_std::{Float16, Global, GlobalMut, Shared, thread};

use super::attend::Pair;
use super::{THREADS, WARPS};
use crate::decode_scores::MAX_GROUP;
use crate::v_combine::Weighting;

/// What becomes of the probability of the rows that were not selected.
pub struct Rest {
    /// A [`Weighting`].
    pub weighting: u32,
    /// The address of the sums of all rows of V of each KV head, read only for the mean.
    pub totals: Global<u64>,
    /// The sums of each head's probabilities over the rows of a warp `[WARPS, MAX_GROUP]`.
    pub kept: Shared<f32>,
}

impl Rest {
    /// Writes the rows of the group's heads, from the warps' sums `[WARPS, heads, DIM]`. A thread
    /// takes two neighbours.
    #[inline(always)]
    pub fn write<T: Float16, const DIM: u32>(
        &self,
        out: GlobalMut<T>,
        (sums, heads): (Shared<f32>, u32),
        pair: &Pair,
    ) {
        let mut index = thread::thread_idx_x();
        while index < pair.group * DIM / 2 {
            let (head, column) = (2 * index / DIM, 2 * index % DIM);
            let (mut kept, mut both) = (0.0, [0.0f32; 2]);
            for warp in 0..WARPS {
                kept += self.kept.read(warp * MAX_GROUP + head);
                let row = sums.offset((warp * heads + head) * DIM + column);
                both[0] += row.read(0);
                both[1] += row.read(1);
            }
            let scale = if self.weighting == Weighting::Renormalised as u32 {
                1.0 / kept
            } else {
                1.0
            };
            both = [both[0] * scale, both[1] * scale];
            if self.weighting == Weighting::MeanV as u32 {
                // Rounding may leave a little more than the whole.
                let rest = (1.0 - kept).max(0.0) / pair.length as f32;
                let totals = Global::<f32>::from_address(self.totals.read(0));
                let totals = totals.offset((pair.kv_head * DIM + column) as usize);
                both[0] += rest * totals.read(0);
                both[1] += rest * totals.read(1);
            }
            let out = out.cast::<u32>();
            out.write(index as usize, T::pack(both[0], both[1]));
            index += THREADS;
        }
    }
}
