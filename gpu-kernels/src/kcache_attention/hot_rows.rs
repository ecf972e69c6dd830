//! Rows of V fetched lately, kept in device memory: those used longest ago make room.

use cuda_std::{GlobalMut, Shared, U32x2, thread};

use super::THREADS;
use crate::reduce::{count_before, sum_before};

/// Of a selected row: it has no slot.
pub const NOT_HOT: u32 = u32::MAX;

/// Of a selected row, beside its slot: the row must be fetched into it.
pub const FETCHED: u32 = 1 << 31;

/// In `slot_of`: the position has no slot.
pub const NO_SLOT: u16 = u16::MAX;

/// In `position_of`: the slot holds nothing.
pub const NO_POSITION: u32 = u32::MAX;

/// Bytes of shared memory to work on `slots` slots.
pub const fn shared_bytes(slots: u32) -> u32 {
    slots * 4
}

/// Neighbouring places of the order that a thread looks at.
const AT_ONCE: usize = 4;

/// The index of one KV head's hot rows.
#[derive(Clone, Copy)]
pub struct HotRows {
    /// The slot of each position, or [`NO_SLOT`].
    pub slot_of: GlobalMut<u16>,
    /// The position in each slot, or [`NO_POSITION`].
    pub position_of: GlobalMut<u32>,
    /// The slots, those used longest ago first.
    pub order: GlobalMut<u16>,
    /// How many there are.
    pub slots: u32,
}

impl HotRows {
    /// Looks up the positions of `count` rows, each once among them, and writes to each its slot.
    /// The first of those that have none get the slots used longest ago, marked [`FETCHED`]; a slot
    /// whose row is among them is not taken, so that the last may remain [`NOT_HOT`]. Gives the
    /// number of rows that had one.
    ///
    /// All threads of the block take part; `rows` and the index may be read after a barrier.
    /// `shared` has [`shared_bytes`], `counts` is that of [`count_before`].
    #[inline(always)]
    pub fn update(
        self,
        rows: GlobalMut<U32x2>,
        count: u32,
        shared: Shared<u16>,
        counts: Shared<u32>,
    ) -> u32 {
        let (used, victims) = (shared, shared.offset(self.slots));
        // On its way while the rows are looked up.
        let oldest = self.slots_at(AT_ONCE as u32 * thread::thread_idx_x());
        let hits = self.look_up(rows, count, used, counts);
        let taken = (count - hits).min(self.slots - hits);
        self.take_oldest(taken, oldest, used, victims, counts);
        self.assign(rows, count, (hits, taken), victims, counts);
        hits
    }

    /// Writes the slots of the rows that have one, marks them used, and gives their number.
    #[inline(always)]
    fn look_up(
        self,
        rows: GlobalMut<U32x2>,
        count: u32,
        used: Shared<u16>,
        counts: Shared<u32>,
    ) -> u32 {
        let mut slot = thread::thread_idx_x();
        while slot < self.slots {
            used.write(slot, 0);
            slot += THREADS;
        }
        thread::sync_threads();
        let (mut hits, mut start) = (0, 0);
        while start < count {
            let i = start + thread::thread_idx_x();
            let mut slot = NO_SLOT;
            if i < count {
                let [position, _] = rows.read(i as usize).0;
                slot = self.slot_of.read(position as usize);
                if slot != NO_SLOT {
                    used.write(u32::from(slot), 1);
                    rows.write(i as usize, U32x2([position, u32::from(slot)]));
                }
            }
            hits += count_before(slot != NO_SLOT, counts).1;
            start += THREADS;
        }
        hits
    }

    /// The slots of neighbouring places of the order; of places past the last, any.
    #[inline(always)]
    fn slots_at(self, place: u32) -> [u16; AT_ONCE] {
        let last = self.slots - 1;
        core::array::from_fn(|i| self.order.read((place + i as u32).min(last) as usize))
    }

    /// Moves the first `taken` unused slots from the order to `victims`, and closes up the others:
    /// the last places of the order become free, as many as there are slots used or taken. `oldest`
    /// are those at the thread's first places.
    #[inline(always)]
    fn take_oldest(
        self,
        taken: u32,
        oldest: [u16; AT_ONCE],
        used: Shared<u16>,
        victims: Shared<u16>,
        counts: Shared<u32>,
    ) {
        let (mut before, mut start) = (0, 0);
        let mut here = oldest;
        while start < self.slots {
            let place = start + AT_ONCE as u32 * thread::thread_idx_x();
            // No place of a later round is written in this one.
            let ahead = self.slots_at(place + AT_ONCE as u32 * THREADS);
            let unused: [bool; AT_ONCE] = core::array::from_fn(|i| {
                place + (i as u32) < self.slots && used.read(u32::from(here[i])) == 0
            });
            let count = unused.iter().map(|&unused| u32::from(unused)).sum();
            // After it every slot of this round has been read.
            let (rank, all) = sum_before(count, counts);
            let mut rank = before + rank;
            for (&slot, &unused) in here.iter().zip(&unused) {
                if unused && rank < taken {
                    victims.write(rank, slot);
                } else if unused {
                    self.order.write((rank - taken) as usize, slot);
                }
                rank += u32::from(unused);
            }
            before += all;
            here = ahead;
            start += AT_ONCE as u32 * THREADS;
        }
        thread::sync_threads();
    }

    /// Gives the first `taken` misses their slots, and writes the end of the order: the slots of
    /// the rows, in the rows' order.
    #[inline(always)]
    fn assign(
        self,
        rows: GlobalMut<U32x2>,
        count: u32,
        (hits, taken): (u32, u32),
        victims: Shared<u16>,
        counts: Shared<u32>,
    ) {
        let end = self.order.offset((self.slots - hits - taken) as usize);
        let (mut before, mut start) = (0, 0);
        while start < count {
            let i = start + thread::thread_idx_x();
            let [position, mut slot] = if i < count {
                rows.read(i as usize).0
            } else {
                [0, 0]
            };
            let (here, all) = count_before(slot == NOT_HOT, counts);
            let misses_before = before + here;
            if slot == NOT_HOT && misses_before < taken {
                let victim = victims.read(misses_before);
                slot = u32::from(victim);
                self.replace(victim, position);
                rows.write(i as usize, U32x2([position, slot | FETCHED]));
            }
            if i < count && slot != NOT_HOT {
                let place = i - misses_before + misses_before.min(taken);
                end.write(place as usize, slot as u16);
            }
            before += all;
            start += THREADS;
        }
    }

    /// Makes a slot one of another position.
    #[inline(always)]
    fn replace(self, slot: u16, position: u32) {
        let old = self.position_of.read(slot as usize);
        if old != NO_POSITION {
            self.slot_of.write(old as usize, NO_SLOT);
        }
        self.position_of.write(slot as usize, position);
        self.slot_of.write(position as usize, slot);
    }
}
