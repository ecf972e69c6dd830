//! The hot rows of one pair, in plain Rust.

use gpu_kernels::kcache_attention::hot_rows::{FETCHED, NOT_HOT};

/// The hot rows of one pair: slots from the one used longest ago to the one used last.
pub struct Model {
    pub order: Vec<(u16, Option<usize>)>,
}

impl Model {
    pub fn new(slots: usize) -> Self {
        let order = (0..slots as u16).map(|slot| (slot, None)).collect();
        Self { order }
    }

    pub fn slot(&self, position: usize) -> Option<u16> {
        let found = self.order.iter().find(|(_, held)| *held == Some(position));
        found.map(|&(slot, _)| slot)
    }

    /// The slots of the positions of a step, as the kernel writes them.
    pub fn step(&mut self, needed: &[usize]) -> Vec<u32> {
        let is_needed = |held: Option<usize>| held.is_some_and(|p| needed.contains(&p));
        let (used, unused): (Vec<_>, Vec<_>) =
            self.order.iter().partition(|(_, held)| is_needed(*held));
        let mut free = unused.into_iter();
        let mut latest = Vec::new();
        let mut slots = Vec::new();
        for &position in needed {
            let hit = used.iter().find(|(_, held)| *held == Some(position));
            let taken = if hit.is_some() { None } else { free.next() };
            slots.push(match (hit, taken) {
                (Some(&(slot, _)), _) => u32::from(slot),
                (None, Some((slot, _))) => u32::from(slot) | FETCHED,
                (None, None) => NOT_HOT,
            });
            let slot = hit.copied().or(taken).map(|(slot, _)| slot);
            latest.extend(slot.map(|slot| (slot, Some(position))));
        }
        self.order = free.chain(latest).collect();
        slots
    }
}
