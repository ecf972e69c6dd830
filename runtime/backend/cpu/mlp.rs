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
