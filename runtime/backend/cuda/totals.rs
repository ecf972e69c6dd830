//! The sums of all rows of V, from which their means are taken.

use half::bf16;

use super::CudaKvCache;
use crate::Result;
use crate::cache::BLOCK;
use crate::driver::Stream;

impl CudaKvCache {
    /// Whether the sum of all rows of V of `layer` is kept.
    pub(super) fn has_totals(&self, layer: usize) -> bool {
        !self.totals.is_empty() && self.is_far(layer)
    }

    /// The address of that sum, 0 without one.
    pub(super) fn total_address(&self, layer: usize) -> u64 {
        if !self.has_totals(layer) {
            return 0;
        }
        let first = (layer - self.near_layers) * self.kv_dim();
        self.totals.as_slice().address() + (first * size_of::<f32>()) as u64
    }

    /// Takes rows that were forgotten out of the sums.
    pub(super) fn refresh_totals(&mut self, stream: &Stream) -> Result<()> {
        for layer in 0..self.lengths.len() {
            if self.stale[layer] && self.has_totals(layer) {
                let sums = self.sum_rows(layer, stream)?;
                let first = (layer - self.near_layers) * self.kv_dim();
                let mut total = self.totals.slice_mut(first..first + self.kv_dim())?;
                total.copy_from_host(&sums, stream)?;
            }
            self.stale[layer] = false;
        }
        Ok(())
    }

    /// Adds up the rows of a far layer on the host.
    fn sum_rows(&self, layer: usize, stream: &Stream) -> Result<Vec<f32>> {
        let mut sums = vec![0.0f64; self.kv_dim()];
        let mut block = vec![bf16::ZERO; self.block_size()];
        for index in 0..self.lengths[layer].div_ceil(BLOCK) {
            let far_layer = layer - self.near_layers;
            self.far_values.read(far_layer, index, &mut block, stream)?;
            let rows = BLOCK.min(self.lengths[layer] - index * BLOCK);
            let heads = block.chunks_exact(BLOCK * self.dim);
            for (sums, head) in sums.chunks_exact_mut(self.dim).zip(heads) {
                for row in head.chunks_exact(self.dim).take(rows) {
                    for (sum, x) in sums.iter_mut().zip(row) {
                        *sum += x.to_f64();
                    }
                }
            }
        }
        Ok(sums.iter().map(|&sum| sum as f32).collect())
    }
}
