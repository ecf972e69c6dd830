//! Weights of random numbers.

use std::path::Path;
use std::sync::Arc;

use half::bf16;
use kcache::backend::Backend;
use kcache::backend::cuda::{Cuda, Matrix};
use kcache::driver::DeviceBuffer;
use kcache::models::{DType, Tensor};
use kcache::{Error, Result};
use memmap2::{Mmap, MmapMut};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Numbers that all matrices are cut from.
const POOL: usize = 64 << 20;

/// A pool of random numbers, from -1 to 1.
pub struct Synthetic {
    pool: Arc<Mmap>,
}

impl Synthetic {
    pub fn new(seed: u64) -> Result<Self> {
        Ok(Self {
            pool: mapped(POOL, |i, chunk| {
                let mut rng = ChaCha8Rng::seed_from_u64(seed + i as u64);
                chunk.fill_with(|| bf16::from_f32(rng.random_range(-1.0..1.0)));
            })?,
        })
    }

    /// A weight `[rows, cols]`, whose part of the pool begins at element `start`.
    pub fn matrix(&self, backend: &Cuda, start: usize, [rows, cols]: [usize; 2]) -> Result<Matrix> {
        // Larger ones repeat the pool.
        let pieces = (rows * cols).div_ceil(POOL / 2);
        if pieces > 1 {
            let whole = mapped(rows * cols, |i, chunk| {
                let from = i * CHUNK % (POOL - CHUNK);
                chunk.copy_from_slice(&self.numbers()[from..from + chunk.len()]);
            })?;
            return backend.matrix(&tensor(whole, 0, [rows, cols])?);
        }
        let start = start % (POOL / 2);
        backend.matrix(&tensor(self.pool.clone(), start, [rows, cols])?)
    }

    /// A norm's weight.
    pub fn vector(&self, backend: &Cuda, len: usize) -> Result<DeviceBuffer<f32>> {
        backend.vector(&tensor(self.pool.clone(), 0, [1, len])?)
    }

    fn numbers(&self) -> &[bf16] {
        bytemuck::cast_slice(&self.pool)
    }
}

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
            all.push(bf16::from_f32(*x));
        }
    }
    let map = mapped(all.len(), |i, chunk| {
        chunk.copy_from_slice(&all[i * CHUNK..i * CHUNK + chunk.len()]);
    })?;
    backend.matrix(&tensor(map, 0, [steps * batch, width])?)
}

const CHUNK: usize = 1 << 20;

/// Memory as a file would be mapped, filled chunk by chunk.
fn mapped(len: usize, fill: impl Fn(usize, &mut [bf16]) + Sync) -> Result<Arc<Mmap>> {
    let failed = |error: std::io::Error| Error::InvalidArgument(error.to_string());
    let mut map = MmapMut::map_anon(len * size_of::<bf16>()).map_err(failed)?;
    bytemuck::cast_slice_mut(&mut map)
        .par_chunks_mut(CHUNK)
        .enumerate()
        .for_each(|(i, chunk)| fill(i, chunk));
    Ok(Arc::new(map.make_read_only().map_err(failed)?))
}

fn tensor(map: Arc<Mmap>, start: usize, shape: [usize; 2]) -> Result<Tensor> {
    let (path, start) = (Path::new("synthetic"), start * size_of::<bf16>());
    Ok(Tensor::new(path, "weight", map, start, DType::BF16, shape)?)
}
