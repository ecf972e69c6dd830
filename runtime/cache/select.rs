//! The selection of V rows: exact, ties to the lower position.

use std::cmp::Ordering;

/// Descending by score, then ascending by position; NaN ranks above all, so it
/// is selected and shows in the output instead of vanishing.
fn rank(scores: &[f32], a: usize, b: usize) -> Ordering {
    scores[b].total_cmp(&scores[a]).then(a.cmp(&b))
}

/// The `n` positions of `range` with the largest `scores`, ascending.
///
/// `scores` is indexed by position. Fewer than `n` candidates are all selected.
pub fn top_n(scores: &[f32], range: std::ops::Range<usize>, n: usize) -> Vec<usize> {
    let mut picked: Vec<usize> = range.collect();
    keep_largest(scores, &mut picked, n);
    picked.sort_unstable();
    picked
}

/// The fewest positions of `range`, largest `scores` first, whose sum reaches
/// `mass`, but at most `n_max`; ascending.
pub fn top_p(scores: &[f32], range: std::ops::Range<usize>, mass: f32, n_max: usize) -> Vec<usize> {
    let mut picked: Vec<usize> = range.collect();
    keep_largest(scores, &mut picked, n_max);
    picked.sort_unstable_by(|&a, &b| rank(scores, a, b));
    let mut sum = 0.0f64;
    let enough = picked.iter().position(|&i| {
        let reached = sum >= f64::from(mass);
        sum += f64::from(scores[i]);
        reached
    });
    picked.truncate(enough.unwrap_or(picked.len()));
    picked.sort_unstable();
    picked
}

fn keep_largest(scores: &[f32], picked: &mut Vec<usize>, n: usize) {
    if n < picked.len() {
        if n > 0 {
            picked.select_nth_unstable_by(n - 1, |&a, &b| rank(scores, a, b));
        }
        picked.truncate(n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn ties_go_to_the_lower_position() {
        let scores = [0.1, 0.5, 0.5, 0.5, 0.2];
        assert_eq!(top_n(&scores, 0..5, 2), [1, 2]);
        assert_eq!(top_n(&scores, 0..5, 4), [1, 2, 3, 4]);
        assert_eq!(top_n(&scores, 2..5, 1), [2]);
    }

    #[test]
    fn small_and_empty_ranges_are_taken_whole() {
        assert_eq!(top_n(&[1.0, 2.0], 0..2, 9), [0, 1]);
        assert!(top_n(&[1.0, 2.0], 1..1, 9).is_empty());
        assert!(top_n(&[1.0, 2.0], 0..2, 0).is_empty());
        assert!(top_p(&[], 0..0, 0.5, 3).is_empty());
    }

    #[test]
    fn top_p_takes_the_fewest_rows_that_reach_the_mass() {
        let scores = [0.05, 0.4, 0.1, 0.3, 0.15];
        assert_eq!(top_p(&scores, 0..5, 0.65, 9), [1, 3]);
        assert_eq!(top_p(&scores, 0..5, 0.75, 9), [1, 3, 4]);
        assert_eq!(top_p(&scores, 0..5, 0.75, 2), [1, 3]);
        assert!(top_p(&scores, 0..5, 0.0, 9).is_empty());
    }

    #[test]
    fn equals_a_full_sort_on_random_scores() {
        let seed = 7;
        println!("seed {seed}");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for len in [1usize, 2, 63, 64, 1000] {
            // Few distinct values, so that ties cross the boundary.
            let scores: Vec<f32> = (0..len)
                .map(|_| rng.random_range(0..50) as f32 / 50.0)
                .collect();
            let n = rng.random_range(1..=len);
            let mut sorted: Vec<usize> = (0..len).collect();
            sorted.sort_by(|&a, &b| rank(&scores, a, b));
            let mut expected = sorted[..n].to_vec();
            expected.sort_unstable();
            assert_eq!(top_n(&scores, 0..len, n), expected);
        }
    }
}
