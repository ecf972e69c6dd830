//! One decode step's attention over one layer of one sequence, by its policy.
//!
//! This is the reference of the algorithm: score all keys, take the exact
//! softmax, select V rows, bring in those that are not at hand, weigh and sum.

use rayon::prelude::*;

use super::dot::{axpy, dot_rows};
use super::softmax::exp_sum;
use crate::cache::{
    BLOCK, BlockStore, Found, GroupScore, HeadState, KvCache, KvPolicy, Selection, VLayer,
    Weighting, select,
};
use crate::trace::{self, Range};

/// Attention of the newest position of `cache` in `layer`.
///
/// `q` and `out` are `[n_heads * head_dim]`; K and V of the newest position
/// have been appended.
pub fn decode_attention(cache: &mut KvCache, layer: usize, q: &[f32], out: &mut [f32]) {
    let policy = cache.policy().clone();
    let dense = policy.is_dense(layer);
    let (keys, values, heads) = cache.layer_mut(layer);
    let head_dim = keys.head_dim();
    let group = q.len() / heads.len();
    heads
        .par_iter_mut()
        .zip(q.par_chunks(group).zip(out.par_chunks_mut(group)))
        .enumerate()
        .for_each(|(head, (state, (q, out)))| {
            let scored = score(keys, head, q, std::mem::take(&mut state.probs));
            let step = Step {
                head,
                head_dim,
                len: keys.len(),
                probs: &scored,
                values,
            };
            out.fill(0.0);
            state.counters.bytes_near += step.bytes_of(keys.len());
            if dense {
                step.sum_all(out);
                state.counters.bytes_near += step.bytes_of(keys.len());
            } else {
                step.sum_selected(&policy, state, out);
            }
            state.probs = scored;
        });
}

/// Exact probabilities `[group_size, positions]` of the queries `q` over `keys`.
fn score(keys: &BlockStore, head: usize, q: &[f32], mut probs: Vec<f32>) -> Vec<f32> {
    let _range = trace::range(Range::Score);
    let (len, head_dim) = (keys.len(), keys.head_dim());
    let group = q.len() / head_dim;
    let scale = (head_dim as f32).sqrt().recip();
    let scaled: Vec<f32> = q.iter().map(|x| x * scale).collect();
    let mut tile = vec![0.0; group * BLOCK];
    probs.resize(group * len, 0.0);
    for block in 0..len.div_ceil(BLOCK) {
        let rows = keys.block(head, block);
        let n = rows.len() / head_dim;
        dot_rows(&scaled, head_dim, rows, &mut tile[..group * n]);
        for (scores, part) in probs.chunks_exact_mut(len).zip(tile.chunks_exact(n)) {
            scores[block * BLOCK..][..n].copy_from_slice(part);
        }
    }
    for scores in probs.chunks_exact_mut(len) {
        let (_, z) = exp_sum(scores);
        let inverse = z.recip();
        scores.iter_mut().for_each(|p| *p *= inverse);
    }
    probs
}

/// The V side of one KV head's step.
struct Step<'a> {
    head: usize,
    head_dim: usize,
    len: usize,
    /// `[group_size, len]`.
    probs: &'a [f32],
    values: &'a VLayer,
}

impl Step<'_> {
    fn bytes_of(&self, rows: usize) -> u64 {
        (rows * self.head_dim * size_of::<f32>()) as u64
    }

    /// `out = Σ p v` over every position.
    fn sum_all(&self, out: &mut [f32]) {
        let _range = trace::range(Range::Gather);
        for block in 0..self.len.div_ceil(BLOCK) {
            let rows = self.values.rows.block(self.head, block);
            for (pos, row) in (block * BLOCK..).zip(rows.chunks_exact(self.head_dim)) {
                self.add_row(pos, row, out);
            }
        }
    }

    /// `out = Σ w v` over the rows that `policy` selects.
    fn sum_selected(&self, policy: &KvPolicy, state: &mut HeadState, out: &mut [f32]) {
        let sinks = policy.sinks.min(self.len);
        let window = self.len.saturating_sub(policy.window).max(sinks);
        state.picked = self.select(policy, sinks..window);
        let picked = &state.picked;
        let _range = trace::range(Range::Gather);
        for pos in (0..sinks).chain(window..self.len) {
            self.add_row(pos, self.values.rows.row(self.head, pos), out);
        }
        let counters = &mut state.counters;
        let at_hand = sinks + self.len - window;
        counters.note_set(at_hand + picked.len());
        counters.rows_needed += picked.len() as u64;
        counters.bytes_near += self.bytes_of(at_hand);
        let fetch = |pos| self.values.rows.row(self.head, pos);
        state.hot.visit(picked, fetch, |pos, found, row| {
            match found {
                Found::Hot => {
                    counters.rows_hit += 1;
                    counters.bytes_near += self.bytes_of(1);
                }
                Found::Fetched => {
                    counters.rows_fetched += 1;
                    counters.bytes_fetched += self.bytes_of(1);
                }
            }
            self.add_row(pos, row, out);
        });
        let kept = (0..sinks)
            .chain(picked.iter().copied())
            .chain(window..self.len);
        counters.mass += self.weigh(policy.weighting, &kept.collect::<Vec<_>>(), out);
    }

    /// Positions of `range` to bring in beside sinks and window, ascending.
    fn select(&self, policy: &KvPolicy, range: std::ops::Range<usize>) -> Vec<usize> {
        let _range = trace::range(Range::Select);
        match policy.selection {
            Selection::Full | Selection::FullOffload => range.collect(),
            Selection::TopN { n } => select::top_n(&self.combined(policy.group_score), range, n),
            Selection::TopP { p, n_max } => {
                let mass = self.combined(GroupScore::Sum);
                let group = (self.probs.len() / self.len) as f32;
                let always: f32 = mass[..range.start].iter().chain(&mass[range.end..]).sum();
                select::top_p(&mass, range, p * group - always, n_max)
            }
        }
    }

    /// One score for each position from those of the group's heads.
    fn combined(&self, how: GroupScore) -> Vec<f32> {
        let (first, others) = self.probs.split_at(self.len);
        let mut combined = first.to_vec();
        for head in others.chunks_exact(self.len) {
            for (c, p) in combined.iter_mut().zip(head) {
                *c = match how {
                    GroupScore::Sum => *c + p,
                    GroupScore::Max => c.max(*p),
                };
            }
        }
        combined
    }

    fn add_row(&self, pos: usize, row: &[f32], out: &mut [f32]) {
        let heads = self.probs.chunks_exact(self.len);
        for (probs, out) in heads.zip(out.chunks_exact_mut(self.head_dim)) {
            axpy(probs[pos], row, out);
        }
    }

    /// Turns `out = Σ p v` over the positions `kept` into what `weighting` asks
    /// for, and returns their probability, the mean of the group's heads.
    fn weigh(&self, weighting: Weighting, kept: &[usize], out: &mut [f32]) -> f64 {
        let group = self.probs.len() / self.len;
        let mut total = 0.0;
        let heads = self.probs.chunks_exact(self.len);
        for (probs, out) in heads.zip(out.chunks_exact_mut(self.head_dim)) {
            let mass: f32 = kept.iter().map(|&pos| probs[pos]).sum();
            total += f64::from(mass);
            match weighting {
                Weighting::Raw => {}
                Weighting::Renormalised => out.iter_mut().for_each(|x| *x /= mass),
                Weighting::MeanV => {
                    let share = f64::from((1.0 - mass).max(0.0)) / self.len as f64;
                    let sums = &self.values.sums[self.head * self.head_dim..];
                    for (x, sum) in out.iter_mut().zip(sums) {
                        *x += (share * sum) as f32;
                    }
                }
            }
        }
        total / group as f64
    }
}
