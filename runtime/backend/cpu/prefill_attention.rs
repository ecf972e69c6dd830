//! Dense causal attention of a chunk of new positions (arXiv 2205.14135).
//!
//! Scores are never whole: a tile of queries meets the keys some blocks at a
//! time, with the running maximum and sum of each query's softmax.

use gemm::Parallelism;
use multiversion::multiversion;
use multiversion::target::target_cfg_f;
use rayon::prelude::*;

use super::softmax::{exp_sum_above, max};
use crate::cache::{BLOCK, BlockStore};

/// Queries (positions × heads of a group) of a tile, roughly.
const TILE_QUERIES: usize = 192;
/// Blocks of keys that are scored at a time.
const TILE_BLOCKS: usize = 4;
/// Keys that are scored at a time.
const TILE_KEYS: usize = TILE_BLOCKS * BLOCK;

/// Attention of the newest `m` positions over all positions up to each.
///
/// `q` and `out` are `[m, n_heads * head_dim]`; `keys` and `values` hold the
/// new positions too. Query heads `h * group..(h + 1) * group` share KV head
/// `h`. Scores are scaled by `1 / sqrt(head_dim)`.
pub fn prefill_attention(
    keys: &BlockStore,
    values: &BlockStore,
    q: &[f32],
    m: usize,
    out: &mut [f32],
) {
    if m == 0 {
        return;
    }
    debug_assert!(m <= keys.len() && keys.len() == values.len());
    debug_assert_eq!(q.len(), out.len());
    let width = q.len() / m;
    let head_width = width / keys.n_kv_heads();
    let group = head_width / keys.head_dim();
    let rows = (TILE_QUERIES / group).max(1);
    // For each tile of positions and each KV head, the slices to write.
    let mut outs: Vec<Vec<&mut [f32]>> = Vec::new();
    for tile in out.chunks_mut(rows * width) {
        let mut heads: Vec<Vec<&mut [f32]>> = Vec::new();
        heads.resize_with(keys.n_kv_heads(), Vec::new);
        for row in tile.chunks_exact_mut(width) {
            for (head, part) in heads.iter_mut().zip(row.chunks_exact_mut(head_width)) {
                head.push(part);
            }
        }
        outs.extend(heads);
    }
    let first = keys.len() - m;
    outs.into_par_iter().enumerate().for_each(|(i, out)| {
        let (tile, head) = (i / keys.n_kv_heads(), i % keys.n_kv_heads());
        let q = &q[tile * rows * width..][..out.len() * width];
        let queries = q
            .chunks_exact(width)
            .flat_map(|row| &row[head * head_width..][..head_width]);
        let mut tile = Tile::new(queries, group, keys.head_dim(), first + tile * rows);
        tile.attend(keys, values, head);
        tile.write(out);
    });
}

/// Some positions' queries of one group, and their attention so far.
struct Tile {
    group: usize,
    head_dim: usize,
    /// Position of the first query.
    first: usize,
    /// `[queries, head_dim]`, scaled; row `i` is at position `first + i / group`.
    q: Vec<f32>,
    /// `[queries, TILE_KEYS]`.
    scores: Vec<f32>,
    /// Largest score of each query.
    max: Vec<f32>,
    /// Sum of each query's `exp(score - max)`.
    sum: Vec<f32>,
    /// `[queries, head_dim]`: `Σ exp(score - max) v`.
    out: Vec<f32>,
}

impl Tile {
    fn new<'a>(
        queries: impl Iterator<Item = &'a f32>,
        group: usize,
        head_dim: usize,
        first: usize,
    ) -> Self {
        let scale = (head_dim as f32).sqrt().recip();
        let q: Vec<f32> = queries.map(|x| x * scale).collect();
        let n = q.len() / head_dim;
        Self {
            group,
            head_dim,
            first,
            scores: vec![0.0; n * TILE_KEYS],
            max: vec![f32::NEG_INFINITY; n],
            sum: vec![0.0; n],
            out: vec![0.0; q.len()],
            q,
        }
    }

    /// Positions before `end` are seen by the last query.
    fn end(&self) -> usize {
        self.first + self.max.len() / self.group
    }

    fn attend(&mut self, keys: &BlockStore, values: &BlockStore, head: usize) {
        let blocks = self.end().div_ceil(BLOCK);
        for start in (0..blocks).step_by(TILE_BLOCKS) {
            let range = start..blocks.min(start + TILE_BLOCKS);
            let mut width = 0;
            for block in range.clone() {
                width += self.score(keys.block(head, block), width);
            }
            let correct = Correction {
                seen: self.first + 1,
                start: start * BLOCK,
                width,
                group: self.group,
                head_dim: self.head_dim,
            };
            correct.apply(
                &mut self.scores,
                &mut self.max,
                &mut self.sum,
                &mut self.out,
            );
            let mut done = 0;
            for block in range {
                done += self.weigh(values.block(head, block), done);
            }
        }
    }

    /// Scores all queries against the rows `k`, into columns from `column` on.
    fn score(&mut self, k: &[f32], column: usize) -> usize {
        let (n, d) = (k.len() / self.head_dim, self.head_dim);
        let queries = self.max.len();
        assert!(column + n <= TILE_KEYS);
        // SAFETY: `scores` is `[queries, TILE_KEYS]`, `q` is `[queries, d]`,
        // `k` is `[n, d]`, and the columns end within TILE_KEYS.
        unsafe {
            gemm::gemm(
                queries,
                n,
                d,
                self.scores.as_mut_ptr().add(column),
                1,
                TILE_KEYS as isize,
                false,
                self.q.as_ptr(),
                1,
                d as isize,
                k.as_ptr(),
                d as isize,
                1,
                0.0,
                1.0,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
        n
    }

    /// Adds the rows `v`, weighted by the columns from `column` on.
    fn weigh(&mut self, v: &[f32], column: usize) -> usize {
        let (n, d) = (v.len() / self.head_dim, self.head_dim);
        let queries = self.max.len();
        assert!(column + n <= TILE_KEYS);
        // SAFETY: as in `score`; `out` is `[queries, d]` and `v` is `[n, d]`.
        unsafe {
            gemm::gemm(
                queries,
                d,
                n,
                self.out.as_mut_ptr(),
                1,
                d as isize,
                true,
                self.scores.as_ptr().add(column),
                1,
                TILE_KEYS as isize,
                v.as_ptr(),
                1,
                d as isize,
                1.0,
                1.0,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
        n
    }

    /// Writes the normalised rows to `out`, one slice for each position.
    fn write(&self, out: Vec<&mut [f32]>) {
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
}

/// Turns scores of `width` keys from `start` on into weights.
struct Correction {
    /// Keys that the first position sees.
    seen: usize,
    start: usize,
    width: usize,
    group: usize,
    head_dim: usize,
}

impl Correction {
    fn apply(&self, scores: &mut [f32], maxima: &mut [f32], sums: &mut [f32], outs: &mut [f32]) {
        correct(self, scores, maxima, sums, outs);
    }
}

#[multiversion(targets = "simd")]
fn correct(
    c: &Correction,
    scores: &mut [f32],
    maxima: &mut [f32],
    sums: &mut [f32],
    outs: &mut [f32],
) {
    let rows = scores
        .chunks_exact_mut(TILE_KEYS)
        .zip(outs.chunks_exact_mut(c.head_dim));
    let state = maxima.iter_mut().zip(sums);
    for (i, ((scores, out), (max_, sum))) in rows.zip(state).enumerate() {
        let visible = (c.seen + i / c.group).saturating_sub(c.start).min(c.width);
        let (seen, hidden) = scores[..c.width].split_at_mut(visible);
        hidden.fill(0.0);
        let new = max(seen).max(*max_);
        let shift = if new == f32::NEG_INFINITY { 0.0 } else { new };
        if new > *max_ {
            let factor = (*max_ - shift).exp();
            *sum *= factor;
            out.iter_mut().for_each(|x| *x *= factor);
            *max_ = new;
        }
        *sum += exp_sum_above::<
            { target_cfg_f!(any(target_feature = "fma", target_arch = "aarch64")) },
        >(seen, shift);
    }
}
