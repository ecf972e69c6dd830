//! Dense causal attention of a chunk of new positions (arXiv 2205.14135).
//!
//! Scores are never whole: a tile of queries meets the keys some blocks at a
//! time, with the running maximum and sum of each query's softmax.

mod tile;

use rayon::prelude::*;

use crate::cache::BlockStore;
use tile::Tile;

/// Queries of a tile: positions × heads of a group.
const TILE_QUERIES: usize = 192;

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
    debug_assert!(q.len() == out.len() && q.len().is_multiple_of(m * keys.n_kv_heads()));
    let width = q.len() / m;
    let head_width = width / keys.n_kv_heads();
    let positions = (TILE_QUERIES * keys.head_dim()).div_ceil(head_width);
    let first = keys.len() - m;
    let tiles = q
        .chunks(positions * width)
        .zip(out.chunks_mut(positions * width));
    let tasks: Vec<_> = tiles
        .enumerate()
        .flat_map(|(i, (q, out))| {
            let outs = by_head(out, width, head_width);
            let first = first + i * positions;
            outs.into_iter()
                .enumerate()
                .map(move |(head, out)| (first, head, q, out))
        })
        .collect();
    // The last tiles see the most keys: start with them.
    tasks.into_par_iter().rev().for_each_init(
        || Tile::new(keys.head_dim(), head_width),
        |tile, (first, head, q, out)| {
            let queries = q.chunks_exact(width);
            tile.load(
                first,
                queries.map(|row| &row[head * head_width..][..head_width]),
            );
            tile.attend(keys, values, head);
            tile.store(out);
        },
    );
}

/// The parts of all rows of `out` that belong to each KV head.
fn by_head(out: &mut [f32], width: usize, head_width: usize) -> Vec<Vec<&mut [f32]>> {
    let mut heads: Vec<Vec<_>> = Vec::new();
    heads.resize_with(width / head_width, Vec::new);
    for row in out.chunks_exact_mut(width) {
        for (head, part) in heads.iter_mut().zip(row.chunks_exact_mut(head_width)) {
            head.push(part);
        }
    }
    heads
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::cpu::dot::testing::{assert_close, floats, rng};

    /// A chunk of `m` queries after `past` positions.
    struct Case {
        n_kv_heads: usize,
        group: usize,
        head_dim: usize,
        past: usize,
        m: usize,
    }

    impl Case {
        fn kv_width(&self) -> usize {
            self.n_kv_heads * self.head_dim
        }

        fn store(&self, rows: &[f32]) -> BlockStore {
            let mut store = BlockStore::new(self.n_kv_heads, self.head_dim);
            store.append(rows).unwrap();
            store
        }

        fn run(&self, q: &[f32], k: &[f32], v: &[f32]) -> Vec<f32> {
            let mut out = vec![f32::NAN; q.len()];
            prefill_attention(&self.store(k), &self.store(v), q, self.m, &mut out);
            out
        }

        fn reference(&self, q: &[f32], k: &[f32], v: &[f32]) -> Vec<f64> {
            let (d, kv_width) = (self.head_dim, self.kv_width());
            let mut out = Vec::new();
            for (i, q) in q.chunks(kv_width * self.group).enumerate() {
                for (head, q) in q.chunks(d).enumerate() {
                    let kv = head / self.group * d;
                    let row = |rows: &[f32], j: usize| {
                        rows[j * kv_width + kv..][..d]
                            .iter()
                            .map(|x| f64::from(*x))
                            .collect()
                    };
                    let q: Vec<f64> = q.iter().map(|x| f64::from(*x)).collect();
                    let scores: Vec<f64> = (0..=self.past + i)
                        .map(|j| {
                            let k: Vec<f64> = row(k, j);
                            let dot: f64 = q.iter().zip(&k).map(|(q, k)| q * k).sum();
                            dot / (d as f64).sqrt()
                        })
                        .collect();
                    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let p: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
                    let sum: f64 = p.iter().sum();
                    let mut mean = vec![0.0; d];
                    for (j, p) in p.iter().enumerate() {
                        let v: Vec<f64> = row(v, j);
                        mean.iter_mut().zip(&v).for_each(|(m, v)| *m += p / sum * v);
                    }
                    out.extend(mean);
                }
            }
            out
        }

        fn name(&self) -> String {
            let Self {
                n_kv_heads,
                group,
                head_dim,
                past,
                m,
            } = self;
            format!("{n_kv_heads}x{group} heads of {head_dim}, {m} after {past}")
        }
    }

    fn cases() -> Vec<Case> {
        let mut cases = Vec::new();
        for (n_kv_heads, group, head_dim) in [
            (3, 3, 64),
            (1, 8, 128),
            (2, 7, 64),
            (2, 1, 96),
            (1, 2, 256),
            (1, 5, 32),
            (4, 4, 2),
        ] {
            for (past, m) in [
                (0, 1),
                (0, 63),
                (0, 65),
                (0, 200),
                (1, 64),
                (63, 2),
                (300, 70),
            ] {
                cases.push(Case {
                    n_kv_heads,
                    group,
                    head_dim,
                    past,
                    m,
                });
            }
        }
        cases
    }

    #[test]
    fn every_shape_equals_f64() {
        let mut rng = rng(1);
        for case in cases() {
            let positions = case.past + case.m;
            let mut q = floats(&mut rng, case.m * case.kv_width() * case.group);
            q.iter_mut().for_each(|x| *x *= 8.0);
            let k = floats(&mut rng, positions * case.kv_width());
            let v = floats(&mut rng, positions * case.kv_width());
            let expected = case.reference(&q, &k, &v);
            assert_close(
                &case.name(),
                &case.run(&q, &k, &v),
                &expected,
                case.head_dim,
                1e-5,
            );
        }
    }

    #[test]
    fn chunks_give_what_the_whole_gives() {
        let mut rng = rng(2);
        let whole = Case {
            n_kv_heads: 2,
            group: 3,
            head_dim: 64,
            past: 0,
            m: 333,
        };
        let q = floats(&mut rng, 333 * 384);
        let (k, v) = (floats(&mut rng, 333 * 128), floats(&mut rng, 333 * 128));
        let expected: Vec<f64> = whole.run(&q, &k, &v).into_iter().map(f64::from).collect();
        let mut got = Vec::new();
        for (past, m) in [(0, 100), (100, 1), (101, 200), (301, 32)] {
            let case = Case { past, m, ..whole };
            let end = (past + m) * 128;
            got.extend(case.run(&q[past * 384..][..m * 384], &k[..end], &v[..end]));
        }
        assert_close("chunks", &got, &expected, 64, 2e-6);
    }

    /// Positions before the broken one, also those of its tile, see nothing of it.
    #[test]
    fn nan_and_infinity_reach_only_later_positions() {
        let mut rng = rng(3);
        let case = Case {
            n_kv_heads: 2,
            group: 2,
            head_dim: 64,
            past: 10,
            m: 150,
        };
        let q = floats(&mut rng, 150 * 256);
        let k = floats(&mut rng, 160 * 128);
        let v = floats(&mut rng, 160 * 128);
        for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for position in [0, 9, 10, 77, 128, 159] {
                let mut broken_k = k.clone();
                broken_k[position * 128 + 64] = broken;
                let mut broken_v = v.clone();
                broken_v[position * 128 + 3] = broken;
                for (k, v) in [(&broken_k, &v), (&k, &broken_v)] {
                    let expected = case.reference(&q, k, v);
                    let what = format!("{broken} at {position}");
                    assert_close(&what, &case.run(&q, k, v), &expected, 64, 5e-6);
                }
            }
        }
    }

    #[test]
    fn huge_scores_do_not_overflow() {
        let mut rng = rng(4);
        let case = Case {
            n_kv_heads: 1,
            group: 1,
            head_dim: 64,
            past: 0,
            m: 300,
        };
        let q: Vec<f32> = floats(&mut rng, 300 * 64)
            .iter()
            .map(|x| x * 1e10)
            .collect();
        let k: Vec<f32> = floats(&mut rng, 300 * 64)
            .iter()
            .map(|x| x * 1e10)
            .collect();
        let v = floats(&mut rng, 300 * 64);
        let expected = case.reference(&q, &k, &v);
        assert_close("huge", &case.run(&q, &k, &v), &expected, 64, 1e-5);
    }
}
