//! What was measured, beside the device's roof and the peer.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::work::{Case, Work};

/// What the device can do at most, as far as it was measured in this run.
#[derive(Clone, Copy, Debug)]
pub struct Roof {
    /// Bytes that are read in a second.
    pub bytes_per_s: f64,
    /// Operations of the largest product in a second, the peer's or else the own.
    pub flops_per_s: f64,
}

/// The times of another library, in microseconds by operation.
#[derive(Debug, Default)]
pub struct Peer(HashMap<String, f64>);

impl Peer {
    /// Reads lines such as `{"id": "product 1x4096x4096", "us": 8.1}`; others are passed over.
    pub fn read(lines: &str) -> Self {
        let entry = |line: &str| {
            let value: Value = serde_json::from_str(line).ok()?;
            let id = value["id"].as_str()?.to_owned();
            Some((id, value["us"].as_f64()?))
        };
        Self(lines.lines().filter_map(entry).collect())
    }

    fn us(&self, work: Work) -> Option<f64> {
        self.0.get(&work.id()).copied()
    }

    /// The rate of its fastest product.
    pub fn flops_per_s(&self, cases: &[Case]) -> Option<f64> {
        let rate = |case: &Case| Some(case.work.flops() / self.us(case.work)? * 1e6);
        cases.iter().filter_map(rate).max_by(f64::total_cmp)
    }
}

/// The time of one kernel for one operation.
#[derive(Clone, Debug)]
pub struct Measurement {
    pub case: Case,
    pub kernel: String,
    /// The median, in microseconds.
    pub us: f64,
}

impl Measurement {
    /// Bytes a second.
    pub fn bytes_per_s(&self) -> f64 {
        self.case.work.bytes() / self.us * 1e6
    }

    /// Operations a second.
    pub fn flops_per_s(&self) -> f64 {
        self.case.work.flops() / self.us * 1e6
    }

    /// The part of the roof that it reaches.
    pub fn of_roof(&self, roof: &Roof) -> f64 {
        self.case.work.least_us(roof.bytes_per_s, roof.flops_per_s) / self.us
    }

    /// How many times as fast as the peer it is.
    pub fn of_peer(&self, peer: &Peer) -> Option<f64> {
        Some(peer.us(self.case.work)? / self.us)
    }

    pub fn to_json(&self, roof: &Roof, peer: &Peer) -> Value {
        json!({
            "name": self.case.name,
            "id": self.case.work.id(),
            "kernel": self.kernel,
            "us": round(self.us, 2),
            "gb_per_s": round(self.bytes_per_s() / 1e9, 1),
            "tflop_per_s": round(self.flops_per_s() / 1e12, 1),
            "of_roof": round(self.of_roof(roof), 3),
            "of_peer": self.of_peer(peer).map(|ratio| round(ratio, 3)),
        })
    }

    /// A row of the table whose head is [`TABLE_HEAD`].
    pub fn to_row(&self, roof: &Roof, peer: &Peer) -> String {
        let ratio = self.of_peer(peer);
        format!(
            "| {} | {} | {} | {:.1} | {:.0} | {:.0} | {:.0}% | {} |",
            self.case.name,
            self.case.work.id(),
            self.kernel,
            self.us,
            self.bytes_per_s() / 1e9,
            self.flops_per_s() / 1e12,
            100.0 * self.of_roof(roof),
            ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
        )
    }
}

/// The head of the table of [`Measurement::to_row`].
pub const TABLE_HEAD: &str = "\
| where | what | kernel | µs | GB/s | TFLOP/s | of roof | times peer |
|---|---|---|---|---|---|---|---|";

fn round(value: f64, digits: i32) -> f64 {
    let factor = 10f64.powi(digits);
    (value * factor).round() / factor
}
