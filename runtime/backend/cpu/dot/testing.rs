//! What tests and benches of these operations share: random data, random
//! weights of every stored type, and how far a result may be off.

use std::path::Path;
use std::sync::Arc;

use kcache_models::{DType, Tensor};
use memmap2::MmapMut;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A generator, and a line that tells its seed if the test fails.
pub fn rng(seed: u64) -> ChaCha8Rng {
    println!("seed {seed}");
    ChaCha8Rng::seed_from_u64(seed)
}

/// `n` floats from -1 to 1.
pub fn floats(rng: &mut ChaCha8Rng, n: usize) -> Vec<f32> {
    (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// A tensor of random codes with scales around 0.01.
pub fn tensor(rng: &mut ChaCha8Rng, dtype: DType, rows: usize, cols: usize) -> Tensor {
    let row_bytes = dtype.row_bytes(cols).expect("whole blocks");
    // One byte ahead, so that nothing is aligned.
    let mut map = MmapMut::map_anon(1 + rows * row_bytes).expect("memory");
    let stored = &mut map[1..];
    rng.fill_bytes(stored);
    for block in stored.chunks_exact_mut(dtype.block_bytes()) {
        let x: f32 = rng.random_range(-1.0..1.0);
        let scale = half::f16::from_f32(0.01 + 0.005 * x).to_le_bytes();
        match dtype {
            DType::F32 => block.copy_from_slice(&x.to_le_bytes()),
            DType::F16 => block.copy_from_slice(&half::f16::from_f32(x).to_le_bytes()),
            DType::BF16 => block.copy_from_slice(&half::bf16::from_f32(x).to_le_bytes()),
            DType::Q8_0 | DType::Q4_0 | DType::Q5_0 => block[..2].copy_from_slice(&scale),
            DType::Q4_1 | DType::Q5_1 | DType::Q4K | DType::Q5K => {
                block[..2].copy_from_slice(&scale);
                block[2..4].copy_from_slice(&scale);
            }
            DType::Q6K => block[208..].copy_from_slice(&scale),
        }
    }
    let map = Arc::new(map.make_read_only().expect("protection"));
    Tensor::new(Path::new("random"), "w", map, 1, dtype, [rows, cols]).expect("inside the map")
}

/// Compares `got` with `expected`, both `[rows, width]`: the same pattern of NaN
/// and infinities, and an error of at most `limit` of the norm, of all finite
/// elements together and of those of the worst row.
pub fn assert_close(what: &str, got: &[f32], expected: &[f64], width: usize, limit: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let (mut error, mut norm) = (0.0, 0.0);
    let rows = got.chunks(width).zip(expected.chunks(width));
    for (r, (got, expected)) in rows.enumerate() {
        let (mut row_error, mut row_norm) = (0.0, 0.0);
        for (i, (g, e)) in got.iter().zip(expected).enumerate() {
            if !e.is_finite() || !g.is_finite() {
                let same = f64::from(*g) == *e || (g.is_nan() && e.is_nan());
                assert!(same, "{what}: {g} at [{r}, {i}], expected {e}");
                continue;
            }
            row_error += (f64::from(*g) - e).powi(2);
            row_norm += e.powi(2);
        }
        let bound = limit * limit * row_norm;
        assert!(
            row_error <= bound,
            "{what}: row {r} is off by {:e}, limit {limit:e}",
            (row_error / row_norm).sqrt()
        );
        error += row_error;
        norm += row_norm;
    }
    // Errors of rows are independent: together they are no larger than the worst.
    assert!(error <= limit * limit * norm, "{what}");
}
