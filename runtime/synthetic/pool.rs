//! Random numbers that matrices are cut from.

use std::path::Path;
use std::sync::Arc;

use half::bf16;
use kcache_models::{DType, Tensor};
use memmap2::{Mmap, MmapMut};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::{Error, Result};

/// Numbers that are drawn: fewer than a large model has, since drawing them all
/// would take minutes.
const LEN: usize = 64 << 20;

/// Numbers that are filled in at once.
const CHUNK: usize = 1 << 20;

/// Random numbers in bf16, uniform from `-bound` to `bound`.
pub struct Pool {
    numbers: Arc<Mmap>,
}

impl Pool {
    /// Draws the numbers that belong to `seed`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn new(seed: u64, bound: f32) -> Result<Self> {
        let numbers = mapped(LEN, |i, chunk| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed.wrapping_add(i as u64));
            chunk.fill_with(|| bf16::from_f32(rng.random_range(-bound..bound)));
        })?;
        Ok(Self { numbers })
    }

    /// A matrix of `shape` in memory of its own, from element `start` of the
    /// pool on; what exceeds the pool repeats it.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn copied(&self, start: usize, shape: [usize; 2]) -> Result<Tensor> {
        let numbers: &[bf16] = bytemuck::cast_slice(&self.numbers);
        let copy = mapped(shape[0] * shape[1], |i, chunk| {
            let from = (start + i * CHUNK) % (LEN - CHUNK);
            chunk.copy_from_slice(&numbers[from..from + chunk.len()]);
        })?;
        tensor(copy, 0, shape)
    }

    /// As [`Pool::copied`], but a view of the pool where that is large enough.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn shared(&self, start: usize, shape: [usize; 2]) -> Result<Tensor> {
        if shape[0] * shape[1] > LEN / 2 {
            return self.copied(start, shape);
        }
        let bytes = start % (LEN / 2) * size_of::<bf16>();
        tensor(self.numbers.clone(), bytes, shape)
    }
}

/// A matrix of the numbers that `number` gives for each index.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub fn matrix(shape: [usize; 2], number: impl Fn(usize) -> f32 + Sync) -> Result<Tensor> {
    let map = mapped(shape[0] * shape[1], |i, chunk| {
        for (j, x) in chunk.iter_mut().enumerate() {
            *x = bf16::from_f32(number(i * CHUNK + j));
        }
    })?;
    tensor(map, 0, shape)
}

/// Memory as a file would be mapped, filled chunk by chunk.
fn mapped(len: usize, fill: impl Fn(usize, &mut [bf16]) + Sync) -> Result<Arc<Mmap>> {
    let bytes = len * size_of::<bf16>();
    let refused = |_| Error::OutOfMemory {
        what: "synthetic weights".into(),
        bytes: bytes as u64,
        available: None,
    };
    let mut map = MmapMut::map_anon(bytes).map_err(refused)?;
    bytemuck::cast_slice_mut(&mut map)
        .par_chunks_mut(CHUNK)
        .enumerate()
        .for_each(|(i, chunk)| fill(i, chunk));
    Ok(Arc::new(map.make_read_only().map_err(refused)?))
}

fn tensor(map: Arc<Mmap>, start: usize, shape: [usize; 2]) -> Result<Tensor> {
    let path = Path::new("synthetic");
    Ok(Tensor::new(path, "weight", map, start, DType::BF16, shape)?)
}
