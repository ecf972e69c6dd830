//! What the KV policy did, counted where it happens.

use serde::Serialize;

/// Row and byte counts of decode steps.
///
/// Rows and sets are those of layers whose V is on the host. One *set* is the selection of one KV head of one layer in one step.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct KvCounters {
    /// Sets selected.
    pub sets: u64,
    /// Rows of all sets that are not in the window or among the sinks.
    pub rows_needed: u64,
    /// Of those, rows found among the hot rows.
    pub rows_hit: u64,
    /// Of those, rows read from the host.
    pub rows_fetched: u64,
    /// Bytes of the rows read from the host.
    pub bytes_fetched: u64,
    /// Bytes of K, and of V rows at hand (dense layers, sinks, window, hot rows), read.
    pub bytes_near: u64,
    /// Bytes of V written to the host.
    pub bytes_pushed: u64,
    /// Sum over the sets of the attention mass that their rows hold, the mean of
    /// their query heads; 0 where it is not counted, as on a GPU.
    pub mass: f64,
    /// `set_sizes[n]`: sets that used `n` rows in all, window and sinks included.
    #[serde(skip)]
    pub set_sizes: Vec<u64>,
}

impl KvCounters {
    /// Notes a set of `size` rows in all.
    pub fn note_set(&mut self, size: usize) {
        self.sets += 1;
        if self.set_sizes.len() <= size {
            self.set_sizes.resize(size + 1, 0);
        }
        self.set_sizes[size] += 1;
    }

    /// Adds the counts of `other`.
    pub fn add(&mut self, other: &Self) {
        self.sets += other.sets;
        self.rows_needed += other.rows_needed;
        self.rows_hit += other.rows_hit;
        self.rows_fetched += other.rows_fetched;
        self.bytes_fetched += other.bytes_fetched;
        self.bytes_near += other.bytes_near;
        self.bytes_pushed += other.bytes_pushed;
        self.mass += other.mass;
        if self.set_sizes.len() < other.set_sizes.len() {
            self.set_sizes.resize(other.set_sizes.len(), 0);
        }
        for (mine, theirs) in self.set_sizes.iter_mut().zip(&other.set_sizes) {
            *mine += theirs;
        }
    }

    /// What was counted after `before`, an earlier state of these counters.
    pub fn since(&self, before: &Self) -> Self {
        let earlier = before.set_sizes.iter().chain(std::iter::repeat(&0));
        Self {
            sets: self.sets - before.sets,
            rows_needed: self.rows_needed - before.rows_needed,
            rows_hit: self.rows_hit - before.rows_hit,
            rows_fetched: self.rows_fetched - before.rows_fetched,
            bytes_fetched: self.bytes_fetched - before.bytes_fetched,
            bytes_near: self.bytes_near - before.bytes_near,
            bytes_pushed: self.bytes_pushed - before.bytes_pushed,
            mass: self.mass - before.mass,
            set_sizes: self
                .set_sizes
                .iter()
                .zip(earlier)
                .map(|(now, then)| now - then)
                .collect(),
        }
    }

    /// Share of the needed rows that were hot; `None` before any was needed.
    pub fn hit_rate(&self) -> Option<f64> {
        (self.rows_needed > 0).then(|| self.rows_hit as f64 / self.rows_needed as f64)
    }

    /// Mean attention mass of a set, 0 to 1; `None` where it is not counted.
    pub fn mean_mass(&self) -> Option<f64> {
        (self.mass > 0.0).then(|| self.mass / self.sets as f64)
    }

    /// Mean rows of a set; `None` before the first.
    pub fn mean_set(&self) -> Option<f64> {
        let rows: u64 = (0..).zip(&self.set_sizes).map(|(n, sets)| n * sets).sum();
        (self.sets > 0).then(|| rows as f64 / self.sets as f64)
    }

    /// The size that 99% of the sets do not exceed; `None` before the first.
    pub fn p99_set(&self) -> Option<usize> {
        let enough = (self.sets * 99).div_ceil(100);
        let mut seen = 0;
        (self.sets > 0).then(|| {
            self.set_sizes
                .iter()
                .take_while(|&&sets| {
                    seen += sets;
                    seen < enough
                })
                .count()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_p99_come_from_the_noted_sets() {
        let mut counters = KvCounters::default();
        assert_eq!((counters.mean_set(), counters.p99_set()), (None, None));
        for size in 1..=100 {
            counters.note_set(size);
        }
        assert_eq!(counters.mean_set(), Some(50.5));
        assert_eq!(counters.p99_set(), Some(99));
        let mut sum = KvCounters::default();
        sum.add(&counters);
        assert_eq!(sum, counters);
        sum.note_set(200);
        assert_eq!(sum.since(&counters).mean_set(), Some(200.0));
    }
}
