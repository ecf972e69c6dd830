//! The barriers of a block that count arrivals and bytes.

use std::collections::HashMap;

use super::block;
use super::finding::FindingKind;
use super::machine::{Machine, Site, with};
use super::release::Known;
use super::rendezvous::State;
use super::shadow::Access;

/// Bytes of a barrier.
const BYTES: usize = 8;

/// The most arrivals of a phase, and the most bytes.
const LIMIT: u32 = (1 << 20) - 1;

/// A barrier, in the middle of a phase.
#[derive(Debug)]
struct Barrier {
    arrivals: u32,
    /// Arrivals that the phase still waits for.
    missing: u32,
    /// Bytes announced that have not been copied.
    bytes: i64,
    /// Phases that have ended.
    ended: u64,
    /// What the arrivals of this phase hand on.
    collected: Known,
    /// What the phases that have ended hand on.
    published: Known,
    /// The thread that made it, until its fence.
    unfenced: Option<u32>,
}

/// The barriers of the running block, by address.
#[derive(Debug, Default)]
pub struct Barriers(HashMap<u64, Barrier>);

impl Machine {
    pub fn init_barrier(&mut self, address: u64, arrivals: u32, site: Site) {
        self.write(address, &[0; BYTES], site);
        if arrivals == 0 || arrivals > LIMIT {
            self.misuse(format!("a barrier of {arrivals} arrivals"), site);
        }
        let barrier = Barrier {
            arrivals,
            missing: arrivals,
            bytes: 0,
            ended: 0,
            collected: Known::default(),
            published: Known::default(),
            unfenced: Some(self.current),
        };
        self.barriers.0.insert(address, barrier);
    }

    pub fn fence_barriers(&mut self) {
        let own = Some(self.current);
        let barriers = self.barriers.0.values_mut();
        barriers
            .filter(|barrier| barrier.unfenced == own)
            .for_each(|barrier| barrier.unfenced = None);
    }

    /// The running thread announces `bytes`, and arrives.
    pub fn arrive(&mut self, address: u64, bytes: u32, site: Site) {
        self.access(address, BYTES, Access::Atomic, site, |_, _| ());
        let Some(barrier) = self.barriers.0.get_mut(&address) else {
            return self.misuse(format!("no barrier at {address:#x}"), site);
        };
        if barrier.missing == 0 || bytes > LIMIT {
            let message = format!(
                "an arrival with {bytes} bytes, of {} that a phase takes, where {} are missing",
                barrier.arrivals, barrier.missing
            );
            return self.misuse(message, site);
        }
        barrier.bytes += i64::from(bytes);
        barrier.missing -= 1;
        self.clocks.release(self.current, &mut barrier.collected);
        self.end_phase(address);
    }

    /// A copy of `bytes` bytes, whose writes `known` publishes, has ended.
    pub fn complete_bytes(&mut self, address: u64, bytes: usize, known: &Known, site: Site) {
        let Some(barrier) = self.barriers.0.get_mut(&address) else {
            return self.misuse(format!("a copy tells {address:#x}, no barrier"), site);
        };
        let unfenced = barrier.unfenced.is_some();
        barrier.bytes -= bytes as i64;
        barrier.collected.join(known);
        self.end_phase(address);
        if unfenced {
            self.misuse("a copy tells a barrier made without a fence".into(), site);
        }
    }

    /// Ends the phase where all have arrived, and lets those go on who wait for it.
    fn end_phase(&mut self, address: u64) {
        let Some(barrier) = self.barriers.0.get_mut(&address) else {
            return;
        };
        if barrier.missing > 0 || barrier.bytes != 0 {
            return;
        }
        barrier.missing = barrier.arrivals;
        barrier.published.join(&barrier.collected);
        let parity = (barrier.ended & 1) as u32;
        barrier.ended += 1;
        let waits =
            |state: &State| matches!(state, State::Phase(a, p, _) if (*a, *p) == (address, parity));
        let states = (0..).zip(&self.rendezvous.states);
        let waiting: Vec<u32> = states
            .filter(|(_, state)| waits(state))
            .map(|(thread, _)| thread)
            .collect();
        self.rendezvous.release(waiting.into_iter());
    }

    /// Whether the running thread need not wait for the phase of a parity to end.
    fn passes(&mut self, address: u64, parity: u32, site: Site) -> bool {
        self.access(address, BYTES, Access::Atomic, site, |_, _| ());
        let Some(barrier) = self.barriers.0.get(&address) else {
            self.misuse(format!("no barrier at {address:#x}"), site);
            return true;
        };
        let ended = (barrier.ended & 1) as u32 != parity & 1;
        if ended {
            self.clocks.acquire(self.current, &barrier.published);
        } else {
            let state = State::Phase(address, parity & 1, site);
            self.rendezvous.states[self.current as usize] = state;
        }
        ended
    }

    /// How far the phase has come that a thread waits for.
    pub fn describe_phase(&self, address: u64) -> String {
        self.barriers.0.get(&address).map_or_else(String::new, |b| {
            format!(
                "{} of {} arrivals and {} bytes missing in phase {}",
                b.missing, b.arrivals, b.bytes, b.ended
            )
        })
    }

    pub fn misuse(&mut self, message: String, site: Site) {
        self.report(FindingKind::Barrier, message, Some(site));
    }
}

/// Waits as the device does: who comes too late for a phase waits for the next of its parity.
pub fn wait(address: u64, parity: u32, site: Site) {
    while !with(|m| m.passes(address, parity, site)) {
        block::suspend();
    }
}
