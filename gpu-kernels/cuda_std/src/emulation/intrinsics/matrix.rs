//! Tensor cores.

use std::panic::Location;

use crate::emulation::collective::together;
use crate::emulation::machine::Site;
use crate::emulation::rendezvous::Operation;
use crate::warp::ALL;

#[track_caller]
pub fn load_matrix_x4<const TRANSPOSED: bool>(row: u64) -> [u32; 4] {
    let mut payload = [0; 10];
    payload[0] = row as u32;
    payload[1] = (row >> 32) as u32;
    let operation = Operation::LoadMatrix {
        transposed: TRANSPOSED,
    };
    let [w0, w1, w2, w3, ..] = together(operation, ALL, payload, Location::caller());
    [w0, w1, w2, w3]
}

#[track_caller]
pub fn mma_m16n8k16_bf16(d: &mut [f32; 4], a: [u32; 4], b: [u32; 2]) {
    multiply(true, d, a, b, Location::caller());
}

#[track_caller]
pub fn mma_m16n8k16_f16(d: &mut [f32; 4], a: [u32; 4], b: [u32; 2]) {
    multiply(false, d, a, b, Location::caller());
}

fn multiply(bf16: bool, d: &mut [f32; 4], a: [u32; 4], b: [u32; 2], site: Site) {
    let [c0, c1, c2, c3] = d.map(f32::to_bits);
    let payload = [a[0], a[1], a[2], a[3], b[0], b[1], c0, c1, c2, c3];
    let result = together(Operation::Multiply { bf16 }, ALL, payload, site);
    for (value, bits) in d.iter_mut().zip(result) {
        *value = f32::from_bits(bits);
    }
}
