//! The gated activation between an MLP's projections.

use multiversion::multiversion;
use multiversion::target::target_cfg_f;
use rayon::prelude::*;

use super::softmax::exp;

/// Elements that are worth a task of their own.
const CHUNK: usize = 16 * 1024;

/// `gate = silu(gate) * up` with `silu(x) = x / (1 + e⁻ˣ)`; as in IEEE
/// arithmetic by that formula, `silu(-inf)` is NaN.
pub fn swiglu(gate: &mut [f32], up: &[f32]) {
    debug_assert_eq!(gate.len(), up.len());
    if gate.len() <= CHUNK {
        return swiglu_chunk(gate, up);
    }
    gate.par_chunks_mut(CHUNK)
        .zip(up.par_chunks(CHUNK))
        .for_each(|(gate, up)| swiglu_chunk(gate, up));
}

#[multiversion(targets = "simd")]
fn swiglu_chunk(gate: &mut [f32], up: &[f32]) {
    for (gate, up) in gate.iter_mut().zip(up) {
        let e =
            exp::<{ target_cfg_f!(any(target_feature = "fma", target_arch = "aarch64")) }>(-*gate);
        *gate = *gate / (1.0 + e) * up;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::cpu::dot::testing::{assert_close, floats, rng};

    fn reference(gate: &[f32], up: &[f32]) -> Vec<f64> {
        let pairs = gate.iter().zip(up);
        pairs
            .map(|(g, u)| {
                let (g, u) = (f64::from(*g), f64::from(*u));
                g / (1.0 + (-g).exp()) * u
            })
            .collect()
    }

    /// One row per element, so that each is held to the limit.
    #[test]
    fn every_element_equals_f64() {
        let mut rng = rng(1);
        for len in [1, 15, 1536, 3 * CHUNK + 5] {
            let (mut gate, up) = (floats(&mut rng, len), floats(&mut rng, len));
            gate.iter_mut().for_each(|x| *x *= 80.0);
            let expected = reference(&gate, &up);
            swiglu(&mut gate, &up);
            assert_close("swiglu", &gate, &expected, 1, 5e-7);
        }
    }

    #[test]
    fn extremes_are_those_of_the_formula() {
        let gate = [
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
            0.0,
            -1e30,
            1e30,
            2.0,
        ];
        for up in [1.0, -1.0, f32::INFINITY, f32::NAN] {
            let ups = [up; 7];
            let mut got = gate;
            swiglu(&mut got, &ups);
            // f64 does not overflow where f32 does, to the same limit.
            assert_close("swiglu", &got, &reference(&gate, &ups), 1, 1e-6);
        }
    }
}
