//! The history of one element of memory, as far as a race with it needs to be known.

use super::clock::{Clocks, Stamp};

/// How an access touches memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A plain read.
    Read,
    /// A plain write.
    Write,
    /// A read and write that is atomic against others of its kind.
    Atomic,
}

/// Who touched an element last.
///
/// Of the readers since the last write four are kept: the latest; the latest of another warp; the
/// latest of another lane of the same warp; one of another block. With barriers of whole blocks and
/// whole warps, a write that races with any reader races with one of these.
#[derive(Clone, Debug, Default)]
pub struct Shadow {
    write: Option<Stamp>,
    atomic: Option<Stamp>,
    read: Option<Stamp>,
    read_other_warp: Option<Stamp>,
    read_other_lane: Option<Stamp>,
    read_other_block: Option<Stamp>,
}

impl Shadow {
    /// Records an access, and gives the earlier one it races with, if any.
    pub fn touch(
        &mut self,
        access: Access,
        now: Stamp,
        clocks: &Clocks,
    ) -> Option<(Access, Stamp)> {
        let races = |kind, earlier: &Option<Stamp>| {
            earlier
                .filter(|stamp| !clocks.ordered(stamp, &now))
                .map(|stamp| (kind, stamp))
        };
        let mut race = races(Access::Write, &self.write);
        if access != Access::Atomic {
            race = race.or_else(|| races(Access::Atomic, &self.atomic));
        }
        if access != Access::Read {
            let readers = [
                &self.read,
                &self.read_other_warp,
                &self.read_other_lane,
                &self.read_other_block,
            ];
            race = race.or_else(|| readers.into_iter().find_map(|r| races(Access::Read, r)));
        }
        match access {
            Access::Read => self.add_reader(now),
            Access::Write => {
                *self = Self {
                    write: Some(now),
                    ..Self::default()
                }
            }
            Access::Atomic => self.atomic = Some(now),
        }
        race
    }

    /// The last write.
    pub fn last_write(&self) -> Option<&Stamp> {
        self.write.as_ref()
    }

    fn add_reader(&mut self, now: Stamp) {
        let Some(latest) = self.read.replace(now) else {
            return;
        };
        if latest.block != now.block {
            self.read_other_block = Some(latest);
            self.read_other_warp = None;
            self.read_other_lane = None;
        } else if !latest.same_warp(&now) {
            self.read_other_warp = Some(latest);
            self.read_other_lane = None;
        } else if latest.thread != now.thread {
            self.read_other_lane = Some(latest);
        }
    }
}
