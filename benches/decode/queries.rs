//! Queries that resemble each other as those of a text do.

use kcache::Result;
use kcache::backend::Backend;
use kcache::backend::cuda::{Cuda, Matrix};
use kcache::synthetic::matrix;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Queries `[steps, batch · width]`, each like the one before it by `rho`, as
/// rows of `width`.
pub fn queries(backend: &Cuda, [steps, batch, width]: [usize; 3], rho: f32) -> Result<Matrix> {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut current = vec![0.0f32; batch * width];
    let mut all = Vec::with_capacity(steps * batch * width);
    for step in 0..steps {
        let (keep, new) = match step {
            0 => (0.0, 1.0),
            _ => (rho, (1.0 - rho * rho).sqrt()),
        };
        for x in &mut current {
            *x = keep * *x + new * rng.random_range(-1.0..1.0);
            all.push(*x);
        }
    }
    backend.matrix(&matrix([steps * batch, width], |i| all[i])?)
}
