//! Replacement policies, and the misses of a cache under each.

use std::fmt;

use crate::rows::{Row, Rows};

/// Which rows a full cache keeps: those of the highest rank. Counts and masses
/// are those of all uses so far, also of rows that had left the cache.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Policy {
    /// Used last.
    Lru,
    /// Used most often.
    Lfu {
        /// A use counts so many times as much at each later step.
        decay: f64,
    },
    /// Most probability in all uses.
    Mass,
    /// Used soonest again: nothing misses less over all steps, but it takes the future.
    Belady,
}

impl Policy {
    /// In the order of the table.
    pub const ALL: [Self; 6] = [
        Self::Lru,
        Self::Lfu { decay: 0.9 },
        Self::Lfu { decay: 0.99 },
        Self::Lfu { decay: 1.0 },
        Self::Mass,
        Self::Belady,
    ];

    /// What ranks are multiplied by before each step.
    fn decay(self) -> f64 {
        match self {
            Self::Lfu { decay } => decay,
            _ => 1.0,
        }
    }

    /// The rank of a row that `step` needs and whose rank was `rank`, at first 0.
    fn rank(self, rank: f64, step: usize, row: &Row) -> f64 {
        match self {
            Self::Lru => step as f64,
            Self::Lfu { .. } => rank + 1.0,
            Self::Mass => rank + f64::from(row.mass),
            Self::Belady => -f64::from(row.next),
        }
    }
}

/// As the table names it.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lru => f.write_str("LRU"),
            Self::Lfu { decay: 1.0 } => f.write_str("LFU"),
            Self::Lfu { decay } => write!(f, "LFU, decay {decay}"),
            Self::Mass => f.write_str("mass"),
            Self::Belady => f.write_str("Belady"),
        }
    }
}

/// Rows needed, and those of them that were not at hand.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    pub needed: u64,
    pub missed: u64,
}

impl Tally {
    /// Both together.
    pub fn and(self, other: Self) -> Self {
        Self {
            needed: self.needed + other.needed,
            missed: self.missed + other.missed,
        }
    }

    /// Misses of a hundred rows.
    pub fn percent(self) -> f64 {
        100.0 * self.missed as f64 / self.needed as f64
    }
}

/// What a cache of `capacity` rows, at first empty, misses in the steps from
/// `from` on. After a step it keeps the highest ranks among the rows it had and
/// those needed: one that was needed may be refused.
pub fn replay(rows: &Rows, policy: Policy, capacity: usize, from: usize) -> Tally {
    let mut ranks = vec![0.0; rows.positions()];
    let mut is_kept = vec![false; rows.positions()];
    let mut kept = Vec::new();
    let mut tally = Tally::default();
    for (step, needed) in rows.steps().iter().enumerate() {
        let had = kept.len();
        ranks.iter_mut().for_each(|rank| *rank *= policy.decay());
        for row in needed {
            let pos = row.pos as usize;
            ranks[pos] = policy.rank(ranks[pos], step, row);
            if !is_kept[pos] {
                is_kept[pos] = true;
                kept.push(pos);
            }
        }
        if step >= from {
            tally.needed += needed.len() as u64;
            tally.missed += (kept.len() - had) as u64;
        }
        if kept.len() > capacity {
            // Of equal ranks the later position stays.
            let highest_first =
                |a: &usize, b: &usize| ranks[*b].total_cmp(&ranks[*a]).then(b.cmp(a));
            kept.select_nth_unstable_by(capacity, highest_first);
            for pos in kept.drain(capacity..) {
                is_kept[pos] = false;
            }
        }
    }
    tally
}
