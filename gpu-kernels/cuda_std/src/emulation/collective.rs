//! What the lanes of a warp compute together.

use half::{bf16, f16};

use super::clock::LANES;
use super::finding::FindingKind;
use super::machine::{Machine, with};
use super::rendezvous::{Group, Operation, Payload};
use super::{block, machine};

/// Takes part in an operation and gives the lane's result.
pub fn together(operation: Operation, mask: u32, payload: Payload, site: machine::Site) -> Payload {
    let waits = with(|m| {
        if mask >> (m.current as usize % LANES) & 1 == 0 {
            let message = format!("{operation:?} with mask {mask:#010x}");
            m.report(FindingKind::LaneNotInMask, message, Some(site));
            return Some(payload);
        }
        let group = m
            .rendezvous
            .arrive(m.current, operation, mask, site, payload)?;
        let results = m.compute(&group);
        m.rendezvous.complete(m.current, group.mask, &results);
        Some(m.rendezvous.result(m.current))
    });
    waits.unwrap_or_else(|| {
        block::suspend();
        with(|m| m.rendezvous.result(m.current))
    })
}

impl Machine {
    /// The results of a group that is complete.
    fn compute(&mut self, group: &Group) -> [Payload; LANES] {
        let payloads = &group.payloads;
        match group.operation {
            Operation::Sync => {
                self.clocks
                    .join_lanes(self.current as usize / LANES, group.mask);
                *payloads
            }
            Operation::Shuffle => self.shuffle(group),
            Operation::Ballot => {
                let votes = (0..LANES).map(|lane| (payloads[lane][0] & 1) << lane).sum();
                [[votes, 0, 0, 0, 0, 0, 0, 0, 0, 0]; LANES]
            }
            Operation::LoadMatrix { transposed } => self.load_matrix(group, transposed),
            Operation::Multiply { bf16: true } => {
                multiply(payloads, |bits| bf16::from_bits(bits).to_f32())
            }
            Operation::Multiply { bf16: false } => {
                multiply(payloads, |bits| f16::from_bits(bits).to_f32())
            }
        }
    }

    fn shuffle(&mut self, group: &Group) -> [Payload; LANES] {
        let mut results = group.payloads;
        for lane in (0..LANES).filter(|lane| group.mask >> lane & 1 == 1) {
            let source = group.payloads[lane][1] as usize % LANES;
            if group.mask >> source & 1 == 0 {
                let message = format!("shuffle from lane {source}, mask {:#010x}", group.mask);
                self.report(FindingKind::LaneNotInMask, message, Some(group.site));
            }
            results[lane][0] = group.payloads[source][0];
        }
        results
    }

    fn load_matrix(&mut self, group: &Group, transposed: bool) -> [Payload; LANES] {
        let last = self.current;
        let mut rows = [[0; 8]; LANES];
        for (lane, row) in rows.iter_mut().enumerate() {
            // Each lane reads the row that it gave the address of.
            self.current = last / LANES as u32 * LANES as u32 + lane as u32;
            let [low, high, ..] = group.payloads[lane];
            let mut bytes = [0; 16];
            self.read(
                u64::from(high) << 32 | u64::from(low),
                &mut bytes,
                group.site,
            );
            for (value, pair) in row.iter_mut().zip(bytes.chunks_exact(2)) {
                *value = u16::from_le_bytes([pair[0], pair[1]]);
            }
        }
        self.current = last;
        let element = |tile: usize, row: usize, column: usize| {
            let (row, column) = if transposed {
                (column, row)
            } else {
                (row, column)
            };
            u32::from(rows[tile * 8 + row][column])
        };
        let mut results = [[0; 10]; LANES];
        for (lane, result) in results.iter_mut().enumerate() {
            let (row, column) = (lane / 4, lane % 4 * 2);
            for (tile, word) in result.iter_mut().take(4).enumerate() {
                *word = element(tile, row, column) | element(tile, row, column + 1) << 16;
            }
        }
        results
    }
}

/// `D = A·B + C` of a 16×16 and a 16×8 tile, summed in 64 bits; layouts as in [`crate::mma`].
fn multiply(payloads: &[Payload; LANES], widen: impl Fn(u16) -> f32) -> [Payload; LANES] {
    let mut a = [[0f32; 16]; 16];
    let mut b = [[0f32; 16]; 8];
    for (lane, payload) in payloads.iter().enumerate() {
        let (group, pair) = (lane / 4, lane % 4 * 2);
        for (index, word) in payload[..4].iter().enumerate() {
            let (row, column) = (group + index % 2 * 8, pair + index / 2 * 8);
            a[row][column] = widen(*word as u16);
            a[row][column + 1] = widen((word >> 16) as u16);
        }
        for (index, word) in payload[4..6].iter().enumerate() {
            let row = pair + index * 8;
            b[group][row] = widen(*word as u16);
            b[group][row + 1] = widen((word >> 16) as u16);
        }
    }
    let mut results = [[0; 10]; LANES];
    for (lane, result) in results.iter_mut().enumerate() {
        for index in 0..4 {
            let (row, column) = (lane / 4 + index / 2 * 8, lane % 4 * 2 + index % 2);
            let start = f64::from(f32::from_bits(payloads[lane][6 + index]));
            let products = a[row]
                .iter()
                .zip(&b[column])
                .map(|(&x, &y)| f64::from(x) * f64::from(y));
            result[index] = ((start + products.sum::<f64>()) as f32).to_bits();
        }
    }
    results
}
