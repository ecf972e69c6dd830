//! What a decode step should give.

use cuda_std::Float16;
use gpu_kernels::v_combine::Weighting;

use crate::decode_step::{Shape, Step};
use crate::support::{compare, dot, softmax, wide, wide_f32};

/// The squared error of weights in two 16-bit parts, and of sums in 32 bits.
const SUM_LIMIT: f64 = 1e-9;

/// The squared error of rounding the output to 16 bits.
const LIMIT: f64 = 1e-5;

impl<T: Float16> Step<'_, T> {
    /// Compares scores and output of every head.
    pub fn compare(&mut self) {
        let Shape {
            q_heads,
            kv_heads,
            dim,
            lengths,
        } = self.shape;
        let scores = wide_f32(&self.gpu.download(self.scores));
        let out = wide(&self.gpu.download(self.out));
        let (rows, counts) = (self.gpu.download(self.rows), self.gpu.download(self.counts));
        let sums = wide_f32(&self.gpu.download(self.sums));
        let q = wide(&self.q);
        for row in 0..lengths.len() * q_heads {
            let (sequence, kv_head) = (row / q_heads, row % q_heads / (q_heads / kv_heads));
            let length = lengths[sequence];
            let query = &q[row * dim..][..dim];
            let want: Vec<f64> = (0..length)
                .map(|i| dot(query, self.k.row(sequence, i, kv_head)) * f64::from(self.scale()))
                .collect();
            compare(
                "scores",
                &scores[row * self.score_stride..][..length],
                &want,
                length,
                1e-11,
            );
            let pair = sequence * kv_heads + kv_head;
            let selected: Vec<usize> = match self.policy.top {
                Some(_) => rows[pair * self.row_stride..][..counts[pair] as usize]
                    .iter()
                    .map(|&i| i as usize)
                    .collect(),
                None => (0..length).collect(),
            };
            let probabilities = softmax(&want);
            let sum = self.weighted_sum(sequence, kv_head, &selected, &probabilities);
            compare(
                "sum",
                &added(&sums[row * self.policy.splits * dim..], self),
                &sum,
                dim,
                SUM_LIMIT,
            );
            let kept: f64 = selected.iter().map(|&i| probabilities[i]).sum();
            let want = self.filled(sum, kept, sequence, kv_head);
            compare("output", &out[row * dim..][..dim], &want, dim, LIMIT);
        }
    }

    /// The sum of the selected rows of V, each times its probability.
    fn weighted_sum(
        &self,
        sequence: usize,
        kv_head: usize,
        selected: &[usize],
        probabilities: &[f64],
    ) -> Vec<f64> {
        let mut sum = vec![0.0; self.shape.dim];
        for &i in selected {
            let v = self.v.row(sequence, i, kv_head);
            sum.iter_mut()
                .zip(v)
                .for_each(|(sum, v)| *sum += probabilities[i] * v);
        }
        sum
    }

    /// A sum after the probability that it lacks has been accounted for.
    fn filled(&self, mut sum: Vec<f64>, kept: f64, sequence: usize, kv_head: usize) -> Vec<f64> {
        let pair = sequence * self.shape.kv_heads + kv_head;
        let length = self.shape.lengths[sequence] as f64;
        for (sum, &total) in sum.iter_mut().zip(&self.totals[pair * self.shape.dim..]) {
            match self.policy.weighting {
                Weighting::Raw => {}
                Weighting::Renormalised => *sum /= kept,
                Weighting::MeanV => *sum += (1.0 - kept) * f64::from(total) / length,
            }
        }
        sum
    }
}

/// The parts of a head's sum, added.
fn added<T>(parts: &[f64], step: &Step<'_, T>) -> Vec<f64> {
    let dim = step.shape.dim;
    (0..dim)
        .map(|d| {
            (0..step.policy.splits)
                .map(|split| parts[split * dim + d])
                .sum()
        })
        .collect()
}
