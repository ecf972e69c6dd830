//! From the weighted sum of the selected rows to the output of attention.

use cuda_std::{Float16, Global, GlobalMut, Shared, warp};

use super::WARPS;
use super::attend::Pair;
use super::gather::Sums;
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
        let mut kept = 0.0;
        for warp in 0..WARPS {
            kept += self.kept.read(warp * MAX_GROUP + head);
        }
        let scale = if self.weighting == Weighting::Renormalised as u32 {
            1.0 / kept
        } else {
            1.0
        };
        // Rounding may leave a little more than the whole.
        let rest = (1.0 - kept).max(0.0) / pair.length as f32;
        let out = out.offset((head * DIM) as usize).cast::<u32>();
        for (i, tile) in sums.iter().enumerate() {
            let first = (i as u32 * WARPS + warp::warp_id()) * 16 + warp::lane_id() % 4 * 2;
            for (half, &[a0, a1, b0, b1]) in tile.iter().enumerate() {
                let column = first + half as u32 * 8;
                if column < DIM {
                    let mut both = [(a0 + b0) * scale, (a1 + b1) * scale];
                    if self.weighting == Weighting::MeanV as u32 {
                        let totals = Global::<f32>::from_address(self.totals.read(0));
                        let totals = totals.offset((pair.kv_head * DIM + column) as usize);
                        both[0] += rest * totals.read(0);
                        both[1] += rest * totals.read(1);
                    }
                    out.write((column / 2) as usize, T::pack(both[0], both[1]));
                }
            }
        }
    }
}
