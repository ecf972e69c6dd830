//! What must hold of the policies before their figures are worth printing.

use std::collections::HashMap;

use kcache::cache::{Found, HotRows};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::policy::{Policy, Tally, replay};
use crate::rows::Rows;

/// Positions of random steps.
const POSITIONS: usize = 8;

/// Panics unless the policies do what their names say.
pub fn check() {
    every_policy_ranks_by_its_own();
    lru_is_that_of_the_engine();
    nothing_misses_less_than_belady();
}

/// One slot; row 0 is needed 200 times, then row 1, with more mass, 150 times.
/// Row 1 gets the slot at once by LRU and Belady; by mass at its 23rd use, when
/// 23 x 0.9 > 200 x 0.1; by LFU when its uses outweigh the faded 200: at the 7th
/// with decay 0.9, at the 63rd with 0.99 (0.99^-63 > 2 - 0.99^200), never without.
fn every_policy_ranks_by_its_own() {
    let mut rows = Rows::default();
    for (pos, mass, times) in [(0, 0.1, 200), (1, 0.9, 150)] {
        (0..times).for_each(|_| rows.push([(pos, mass)].into_iter()));
    }
    let found = Policy::ALL.map(|policy| replay(&rows, policy, 1, 0).missed);
    assert_eq!(found, [1 + 1, 1 + 7, 1 + 63, 1 + 150, 1 + 23, 1 + 1]);
    assert_eq!(replay(&rows, Policy::Lru, 1, 200).missed, 1);
}

/// Steps of one row: there is no tie that could be broken in another way.
fn lru_is_that_of_the_engine() {
    let rows = random(300, 1);
    let mut hot = HotRows::new(3, 1);
    let mut engine = Tally::default();
    for step in rows.steps() {
        let needed = [step[0].pos as usize];
        hot.visit(
            &needed,
            |_| &[0.0],
            |_, found, _| {
                engine.needed += 1;
                engine.missed += u64::from(found == Found::Fetched);
            },
        );
    }
    assert_eq!(replay(&rows, Policy::Lru, 3, 0), engine);
}

/// Belady misses as little as the best of all choices after every step.
fn nothing_misses_less_than_belady() {
    for seed in 0..20 {
        let rows = random(seed, 3);
        let best = fewest_misses(&rows, 4);
        for policy in Policy::ALL {
            let Tally { missed, .. } = replay(&rows, policy, 4, 0);
            assert!(
                missed >= best,
                "{policy:?} misses {missed} of {best}, seed {seed}"
            );
            assert!(
                policy != Policy::Belady || missed == best,
                "{missed} not {best}, seed {seed}"
            );
        }
    }
}

/// By trying every set of at most `capacity` rows that can stay after a step.
fn fewest_misses(rows: &Rows, capacity: u32) -> u64 {
    // What led to each set, by the bits of its positions.
    let mut least = HashMap::from([(0u32, 0u64)]);
    for step in rows.steps() {
        let needed = step.iter().fold(0, |set, row| set | 1 << row.pos);
        let mut after = HashMap::new();
        for (had, misses) in least {
            let misses = misses + u64::from((needed & !had).count_ones());
            let may_stay = |set: &u32| set & !(had | needed) == 0 && set.count_ones() <= capacity;
            for set in (0..1 << POSITIONS).filter(may_stay) {
                let least = after.entry(set).or_insert(misses);
                *least = misses.min(*least);
            }
        }
        least = after;
    }
    least.into_values().min().unwrap_or(0)
}

/// Sixty steps that need up to `most` rows each, low positions more often.
fn random(seed: u64, most: usize) -> Rows {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut rows = Rows::default();
    for _ in 0..60 {
        let mut draw = || {
            rng.random_range(0..POSITIONS)
                .min(rng.random_range(0..POSITIONS))
        };
        let mut needed: Vec<usize> = (0..most).map(|_| draw()).collect();
        needed.sort_unstable();
        needed.dedup();
        rows.push(needed.into_iter().map(|pos| (pos, pos as f32)));
    }
    rows
}
