//! Reading memory and little else: the rate that other kernels are held against.

use cuda_std::{Global, GlobalMut, U32x4, kernel, thread};

/// Threads of a block.
pub const THREADS: u32 = 512;

/// Loads that a thread has under way at once.
const LOADS: usize = 8;

/// `out[i]` is the exclusive or of the words that thread `i` of the grid reads of `x`, `units` units
/// of 16 bytes.
///
/// Grid: any number of blocks, block `(THREADS)`; `out [blocks · THREADS]`.
#[kernel(max_threads = THREADS)]
pub fn read_rate(out: GlobalMut<u32>, x: Global<U32x4>, units: u64) {
    let (block, thread) = (
        u64::from(thread::block_idx_x()),
        u64::from(thread::thread_idx_x()),
    );
    let share = u64::from(THREADS) * LOADS as u64;
    let mut unit = block * share + thread;
    let mut folded = 0;
    while unit - thread < units {
        let mut words = [[0; 4]; LOADS];
        for (i, words) in words.iter_mut().enumerate() {
            let unit = unit + i as u64 * u64::from(THREADS);
            if unit < units {
                *words = x.read_streaming(unit as usize).0;
            }
        }
        for [a, b, c, d] in &words {
            folded ^= a ^ b ^ c ^ d;
        }
        unit += u64::from(thread::grid_dim_x()) * share;
    }
    let place = block * u64::from(THREADS) + thread;
    out.write(place as usize, folded);
}
