//! From the weighted sum of the selected rows to the output of attention.

use cuda_std::{Float16, Global, GlobalMut, Shared, thread, warp};

use super::gather::Sums;
use super::{Pair, WARPS};
use crate::decode_scores::MAX_GROUP;
use crate::v_combine::Weighting;

/// Adds the threads' shares of each head's probabilities into `total`; `scratch` takes as many
/// for each warp.
#[inline(always)]
pub fn add_kept(
    kept: &[f32; MAX_GROUP as usize],
    group: u32,
    total: Shared<f32>,
    scratch: Shared<f32>,
) {
    for head in 0..MAX_GROUP {
        if head < group {
            let sum = warp::warp_sum(kept[head as usize]);
            if warp::lane_id() == 0 {
                scratch.write(warp::warp_id() * MAX_GROUP + head, sum);
            }
        }
    }
    thread::sync_threads();
    let head = thread::thread_idx_x();
    if head < group {
        let mut sum = 0.0;
        for warp in 0..WARPS {
            sum += scratch.read(warp * MAX_GROUP + head);
        }
        total.write(head, sum);
    }
    thread::sync_threads();
}

/// What becomes of the probability of the rows that were not selected.
pub struct Rest {
    /// A [`Weighting`].
    pub weighting: u32,
    /// The sum of the KV head's rows of V, read only for the mean.
    pub totals: Global<f32>,
    /// The sum of each head's probabilities.
    pub kept: Shared<f32>,
}

impl Rest {
    /// Writes the rows of the group's heads, each warp its columns.
    #[inline(always)]
    pub fn write<T: Float16, const DIM: u32, const TILES: usize>(
        &self,
        out: GlobalMut<T>,
        sums: &Sums<TILES>,
        pair: &Pair,
    ) {
        let head = warp::lane_id() / 4;
        if head >= pair.group {
            return;
        }
        let kept = self.kept.read(head);
        let scale = if self.weighting == Weighting::Renormalised as u32 {
            1.0 / kept
        } else {
            1.0
        };
        // Rounding may leave a little more than the whole.
        let rest = (1.0 - kept).max(0.0) / pair.length as f32;
        let out = out.offset((head * DIM) as usize).cast::<u32>();
        for (i, tile) in sums.iter().enumerate() {
            for half in 0..2 {
                let first = (i as u32 * WARPS + warp::warp_id()) * 16 + half as u32 * 8;
                let column = first + warp::lane_id() % 4 * 2;
                if column < DIM {
                    let [a0, a1, b0, b1] = tile[half];
                    let mut both = [(a0 + b0) * scale, (a1 + b1) * scale];
                    if self.weighting == Weighting::MeanV as u32 {
                        both[0] += rest * self.totals.read(column as usize);
                        both[1] += rest * self.totals.read(column as usize + 1);
                    }
                    out.write((column / 2) as usize, T::pack(both[0], both[1]));
                }
            }
        }
    }
}
