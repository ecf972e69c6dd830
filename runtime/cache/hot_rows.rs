//! V rows fetched lately, kept beside K: least recently used goes first.

/// No slot holds the position, or no position is in the slot.
const NONE: u32 = u32::MAX;

/// The hot rows of one KV head of one layer.
///
/// The index is plain arrays (position to slot, slot to position, slot to last
/// use), so that a device can hold and update the same thing.
#[derive(Debug)]
pub struct HotRows {
    capacity: usize,
    head_dim: usize,
    step: u64,
    slot_of: Vec<u32>,
    pos_of: Vec<u32>,
    last_use: Vec<u64>,
    rows: Vec<f32>,
}

/// Where a needed row was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It was resident when the step began.
    Hot,
    /// It was fetched.
    Fetched,
}

impl HotRows {
    /// An empty cache of at most `capacity` rows of `head_dim` floats.
    pub fn new(capacity: usize, head_dim: usize) -> Self {
        Self {
            capacity,
            head_dim,
            step: 0,
            slot_of: Vec::new(),
            pos_of: Vec::new(),
            last_use: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// Bytes of rows held.
    pub fn bytes(&self) -> usize {
        self.rows.len() * size_of::<f32>()
    }

    /// Hands each of the distinct `needed` positions' rows to `visit`, in order.
    ///
    /// Rows that are not resident come from `fetch` and become resident, in
    /// place of those used longest ago; a row needed in this step is never
    /// evicted by it, so with more misses than room the last ones pass through.
    pub fn visit<'a>(
        &mut self,
        needed: &[usize],
        fetch: impl Fn(usize) -> &'a [f32],
        mut visit: impl FnMut(usize, Found, &[f32]),
    ) {
        self.step += 1;
        self.touch(needed);
        let mut free = self.free_slots(needed);
        for &pos in needed {
            if let Some(slot) = self.slot(pos) {
                visit(pos, Found::Hot, self.slot_row(slot));
                continue;
            }
            let row = fetch(pos);
            if let Some(slot) = free.pop() {
                self.put(slot, pos, row);
            }
            visit(pos, Found::Fetched, row);
        }
    }

    /// Forgets all rows of positions from `len` on.
    pub fn truncate(&mut self, len: usize) {
        for pos in len..self.slot_of.len() {
            if let Some(slot) = self.slot(pos) {
                self.pos_of[slot] = NONE;
                self.last_use[slot] = 0;
            }
        }
        self.slot_of.truncate(len);
    }

    fn slot(&self, pos: usize) -> Option<usize> {
        match self.slot_of.get(pos) {
            None | Some(&NONE) => None,
            Some(&slot) => Some(slot as usize),
        }
    }

    fn slot_row(&self, slot: usize) -> &[f32] {
        &self.rows[slot * self.head_dim..(slot + 1) * self.head_dim]
    }

    /// Marks the resident rows of this step before any is evicted.
    fn touch(&mut self, needed: &[usize]) {
        for &pos in needed {
            if let Some(slot) = self.slot(pos) {
                self.last_use[slot] = self.step;
            }
        }
    }

    /// Slots for this step's misses, the first to take last.
    fn free_slots(&mut self, needed: &[usize]) -> Vec<usize> {
        let misses = needed.iter().filter(|&&p| self.slot(p).is_none()).count();
        let grow = misses.min(self.capacity - self.pos_of.len());
        let mut free: Vec<usize> = (0..self.pos_of.len())
            .filter(|&slot| self.last_use[slot] < self.step)
            .collect();
        let evict = (misses - grow).min(free.len());
        if evict < free.len() {
            if evict > 0 {
                free.select_nth_unstable_by_key(evict - 1, |&s| (self.last_use[s], s));
            }
            free.truncate(evict);
        }
        free.extend(self.pos_of.len()..self.pos_of.len() + grow);
        self.pos_of.resize(self.pos_of.len() + grow, NONE);
        self.last_use.resize(self.pos_of.len(), 0);
        self.rows.resize(self.pos_of.len() * self.head_dim, 0.0);
        free
    }

    fn put(&mut self, slot: usize, pos: usize, row: &[f32]) {
        if self.pos_of[slot] != NONE {
            self.slot_of[self.pos_of[slot] as usize] = NONE;
        }
        if self.slot_of.len() <= pos {
            self.slot_of.resize(pos + 1, NONE);
        }
        self.slot_of[pos] = slot as u32;
        self.pos_of[slot] = pos as u32;
        self.last_use[slot] = self.step;
        self.rows[slot * self.head_dim..(slot + 1) * self.head_dim].copy_from_slice(row);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn table(n: usize) -> Vec<[f32; 2]> {
        (0..n).map(|i| [i as f32, -(i as f32)]).collect()
    }

    fn step(hot: &mut HotRows, host: &[[f32; 2]], needed: &[usize]) -> Vec<usize> {
        let mut fetched = Vec::new();
        hot.visit(
            needed,
            |pos| &host[pos],
            |pos, found, row| {
                assert_eq!(row, host[pos]);
                if found == Found::Fetched {
                    fetched.push(pos);
                }
            },
        );
        fetched
    }

    #[test]
    fn the_least_recently_used_row_goes_first() {
        let host = table(10);
        let mut hot = HotRows::new(3, 2);
        assert_eq!(step(&mut hot, &host, &[1, 2, 3]), [1, 2, 3]);
        assert_eq!(step(&mut hot, &host, &[1, 3]), [0usize; 0]);
        assert_eq!(step(&mut hot, &host, &[4]), [4]);
        assert_eq!(step(&mut hot, &host, &[1, 3, 4]), [0usize; 0]);
        assert_eq!(step(&mut hot, &host, &[2]), [2]);
    }

    #[test]
    fn no_room_and_one_row_still_give_the_right_rows() {
        let host = table(10);
        let mut none = HotRows::new(0, 2);
        assert_eq!(step(&mut none, &host, &[5, 6]), [5, 6]);
        let mut one = HotRows::new(1, 2);
        assert_eq!(step(&mut one, &host, &[5, 6]), [5, 6]);
        assert_eq!(step(&mut one, &host, &[5, 6]), [6]);
    }

    #[test]
    fn truncated_positions_are_fetched_again() {
        let mut host = table(10);
        let mut hot = HotRows::new(4, 2);
        step(&mut hot, &host, &[2, 7, 8]);
        hot.truncate(7);
        host[7] = [70.0, 71.0];
        assert_eq!(step(&mut hot, &host, &[2, 7]), [7]);
    }

    /// Ten thousand random steps against a list kept in order of use.
    #[test]
    fn equals_a_plain_lru_list() {
        let seed = 11;
        println!("seed {seed}");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let host = table(200);
        let capacity = 24;
        let mut hot = HotRows::new(capacity, 2);
        let mut stamps: VecDeque<(usize, u32)> = VecDeque::new();
        for now in 0..10_000u32 {
            let mut needed: Vec<usize> = (0..rng.random_range(1..16))
                .map(|_| rng.random_range(0..200usize).min(rng.random_range(0..200)))
                .collect();
            needed.sort_unstable();
            needed.dedup();
            let missing: Vec<usize> = needed
                .iter()
                .copied()
                .filter(|p| !stamps.iter().any(|(q, _)| q == p))
                .collect();
            assert_eq!(step(&mut hot, &host, &needed).len(), missing.len());
            stamps.retain(|(p, _)| !needed.contains(p));
            stamps.extend(needed.iter().map(|&p| (p, now)));
            // Rows of one step are equally old: the model may drop any of them,
            // so it only checks counts while whole steps are dropped.
            while stamps.len() > capacity {
                let resident = |p: usize| hot.slot(p).is_some();
                let oldest = stamps.front().map(|s| s.1);
                let gone = stamps
                    .iter()
                    .position(|&(p, at)| Some(at) == oldest && !resident(p));
                let gone = gone.expect("an oldest row was evicted");
                stamps.remove(gone);
            }
            assert!(stamps.iter().all(|&(p, _)| hot.slot(p).is_some()));
        }
    }
}
