//! The rate at which all threads together read memory.

use std::hint::black_box;
use std::time::Instant;

use memmap2::MmapMut;
use rayon::ThreadPool;
use rayon::prelude::*;

use crate::driver::HostLimits;
use crate::{Error, Result};

/// More than the caches of nearly all machines.
const BYTES: u64 = 512 << 20;
/// Words that a thread reads at a time.
const CHUNK: usize = 1 << 17;
/// Passes over the memory, of which the fastest counts.
const PASSES: usize = 5;

/// Bytes per second.
pub(super) fn read(pool: &ThreadPool) -> Result<f64> {
    let bytes = BYTES.min(HostLimits::read().spare() / 2) as usize / 8 * 8;
    let refused = |_| Error::OutOfMemory {
        what: "the measurement of memory bandwidth".into(),
        bytes: bytes as u64,
        available: None,
    };
    let mut map = MmapMut::map_anon(bytes.max(8)).map_err(refused)?;
    let words: &mut [u64] = bytemuck::cast_slice_mut(&mut map);
    pool.install(|| {
        // Pages that nobody wrote are one page of zeros, which a cache holds.
        words.par_chunks_mut(CHUNK).for_each(|chunk| chunk.fill(1));
        let fastest = (0..PASSES).map(|_| seconds(words)).fold(f64::MAX, f64::min);
        Ok(size_of_val(words) as f64 / fastest)
    })
}

/// Time of one pass.
fn seconds(words: &[u64]) -> f64 {
    let start = Instant::now();
    let add = |chunk: &[u64]| chunk.iter().fold(0u64, |a, b| a.wrapping_add(*b));
    let chunks = words.par_chunks(CHUNK).map(add);
    black_box(chunks.reduce(|| 0, u64::wrapping_add));
    start.elapsed().as_secs_f64()
}
