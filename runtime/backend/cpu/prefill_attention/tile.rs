//! Some positions' queries of one KV head, and their attention so far.

use multiversion::multiversion;
use multiversion::target::target_cfg_f;

use crate::backend::cpu::dot::axpy;
use crate::backend::cpu::dot::product::{View, product};
use crate::backend::cpu::softmax::{exp_sum_above, max};
use crate::cache::{BLOCK, BlockStore};

/// Blocks of keys that are scored at a time.
const TILE_BLOCKS: usize = 4;
/// Keys that are scored at a time.
const TILE_KEYS: usize = TILE_BLOCKS * BLOCK;

/// The state of one tile; its memory serves one tile after the other.
pub(super) struct Tile {
    head_dim: usize,
    /// Query heads of a position.
    group: usize,
    /// Position of the first query.
    first: usize,
    /// `[queries, head_dim]`, scaled; row `i` is at position `first + i / group`.
    q: Vec<f32>,
    /// `[queries, TILE_KEYS]`: scores, then weights `exp(score - max)`.
    scores: Vec<f32>,
    /// The largest score of each query.
    max: Vec<f32>,
    /// The sum of each query's weights.
    sum: Vec<f32>,
    /// `[queries, head_dim]`: sums of weighted values.
    out: Vec<f32>,
}

impl Tile {
    /// No queries yet; a position's queries of one KV head are `head_width` floats.
    pub fn new(head_dim: usize, head_width: usize) -> Self {
        Self {
            head_dim,
            group: head_width / head_dim,
            first: 0,
            q: Vec::new(),
            scores: Vec::new(),
            max: Vec::new(),
            sum: Vec::new(),
            out: Vec::new(),
        }
    }

    /// Starts anew with the queries of the positions from `first` on.
    pub fn load<'a>(&mut self, first: usize, queries: impl Iterator<Item = &'a [f32]>) {
        let scale = (self.head_dim as f32).sqrt().recip();
        self.first = first;
        self.q.clear();
        self.q.extend(queries.flatten().map(|x| x * scale));
        let n = self.q.len() / self.head_dim;
        self.scores.resize(n * TILE_KEYS, 0.0);
        for (state, start) in [(&mut self.max, f32::NEG_INFINITY), (&mut self.sum, 0.0)] {
            state.clear();
            state.resize(n, start);
        }
        self.out.clear();
        self.out.resize(self.q.len(), 0.0);
    }

    /// Meets all keys and values of `head` that the queries see.
    pub fn attend(&mut self, keys: &BlockStore, values: &BlockStore, head: usize) {
        let end = self.first + self.max.len() / self.group;
        let blocks = end.div_ceil(BLOCK);
        for start in (0..blocks).step_by(TILE_BLOCKS) {
            let mut n = 0;
            for block in start..blocks.min(start + TILE_BLOCKS) {
                n += self.score(keys.block(head, block), n);
            }
            soften(self, start * BLOCK, n);
            for block in start..blocks.min(start + TILE_BLOCKS) {
                self.weigh(values.block(head, block), block * BLOCK);
            }
        }
    }

    /// Writes the result, one slice for each position.
    pub fn store(&self, out: Vec<&mut [f32]>) {
        let rows = self.out.chunks_exact(self.head_dim).zip(&self.sum);
        let outs = out
            .into_iter()
            .flat_map(|o| o.chunks_exact_mut(self.head_dim));
        for ((row, sum), out) in rows.zip(outs) {
            let inverse = sum.recip();
            for (out, x) in out.iter_mut().zip(row) {
                *out = x * inverse;
            }
        }
    }

    /// Scores all queries against the rows `k`, into the columns from `column`
    /// on, and returns how many those are.
    fn score(&mut self, k: &[f32], column: usize) -> usize {
        let q = View::rows(&self.q, self.head_dim);
        let k = View::rows(k, self.head_dim).transposed();
        product(q, k, &mut self.scores[column..], TILE_KEYS, false);
        k.shape[1]
    }

    /// Adds the rows `v`, the values from position `start` on, by their weights.
    fn weigh(&mut self, v: &[f32], start: usize) {
        let rows = v.len() / self.head_dim;
        // A hidden row's weight is 0, but 0 times NaN or infinity is NaN.
        let some_hidden = start + rows > self.first + 1;
        if some_hidden && v.iter().any(|x| !x.is_finite()) {
            return self.weigh_visible(v, start);
        }
        let weights = View {
            floats: &self.scores[start % TILE_KEYS..],
            shape: [self.max.len(), rows],
            strides: [TILE_KEYS, 1],
        };
        let v = View::rows(v, self.head_dim);
        product(weights, v, &mut self.out, self.head_dim, true);
    }

    /// As `weigh`, row by row, without those that a query may not see.
    fn weigh_visible(&mut self, v: &[f32], start: usize) {
        let outs = self.out.chunks_exact_mut(self.head_dim);
        for (i, (weights, out)) in self.scores.chunks_exact(TILE_KEYS).zip(outs).enumerate() {
            let visible = (self.first + i / self.group + 1).saturating_sub(start);
            let weights = &weights[start % TILE_KEYS..];
            let rows = v.chunks_exact(self.head_dim).take(visible);
            for (row, weight) in rows.zip(weights) {
                axpy(*weight, row, out);
            }
        }
    }
}

/// Turns the scores of the `n` keys from position `start` on into weights.
#[multiversion(targets = "simd")]
fn soften(tile: &mut Tile, start: usize, n: usize) {
    const FMA: bool = target_cfg_f!(any(target_feature = "fma", target_arch = "aarch64"));
    let rows = tile.scores.chunks_exact_mut(TILE_KEYS);
    let outs = tile.out.chunks_exact_mut(tile.head_dim);
    let state = tile.max.iter_mut().zip(&mut tile.sum);
    for (i, ((scores, out), (largest, sum))) in rows.zip(outs).zip(state).enumerate() {
        let visible = (tile.first + i / tile.group + 1).saturating_sub(start);
        let (seen, hidden) = scores[..n].split_at_mut(visible.min(n));
        hidden.fill(0.0);
        let before = *largest;
        *largest = max(seen).max(before);
        if *largest > before {
            let factor = (before - *largest).exp();
            *sum *= factor;
            out.iter_mut().for_each(|x| *x *= factor);
        }
        // All -inf so far: any finite shift gives weights of 0.
        let shift = largest.max(f32::MIN);
        *sum += exp_sum_above::<FMA>(seen, shift);
    }
}
