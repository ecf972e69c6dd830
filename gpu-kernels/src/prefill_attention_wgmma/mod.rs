//! Dense causal attention of many positions by warpgroups: on Hopper alone.
//!
//! One warpgroup copies blocks of K and V through a ring of stages; two others score, weigh and sum
//! 64 rows of Q each. While the one computes its softmax, the tensor cores multiply for the other.

mod copy;
mod softmax;

use core::f32::consts::LOG2_E;

use cuda_std::{
    Float16, Global, GlobalMut, Shared, bf16, f16, kernel, swizzled_shared, thread, warp, wgmma,
};

use softmax::{Softmax, mask, pack};

use crate::KV_BLOCK;
use crate::ring::{Place, Ring};

/// Warpgroups that multiply.
const CONSUMERS: u32 = 2;

/// Threads of a block: the consumers, and a warpgroup that copies.
pub const THREADS: u32 = (CONSUMERS + 1) * wgmma::THREADS;

/// Rows of Q that a block handles: grid `(ceil(rows / Q_ROWS), q_heads)`.
pub const Q_ROWS: u32 = CONSUMERS * wgmma::ROWS;

/// Registers of a thread that copies, and of one that multiplies: 128 × 40 + 256 × 232 fit one
/// multiprocessor.
const PRODUCER_REGISTERS: u32 = 40;
const CONSUMER_REGISTERS: u32 = 232;

/// Stages: each holds a block of K or of V.
const STAGES: u32 = 4;

/// Elements of a row of a tile.
const TILE_COLUMNS: u32 = 64;

/// Bytes of dynamic shared memory for heads of `dim` elements.
pub const fn shared_bytes(dim: u32) -> u32 {
    let positions = if dim <= 128 { 128 } else { 64 };
    (Q_ROWS + STAGES * positions) * dim * 2 + Ring::<STAGES>::BYTES
}

/// Heads of `DIM` elements, whose positions are taken `2 · SCORES` at a time: a thread has `SUMS`
/// sums, half of `DIM`.
struct Heads<const DIM: u32, const SCORES: usize, const SUMS: usize>;

/// The arguments of the kernel.
#[derive(Clone, Copy)]
struct Problem<T> {
    out: GlobalMut<T>,
    q: Global<T>,
    k_blocks: Global<u64>,
    v_blocks: Global<u64>,
    rows: u32,
    first: u32,
    q_heads: u32,
    kv_heads: u32,
    scale: f32,
}

/// What a block handles.
#[derive(Clone, Copy)]
struct Task {
    /// Its first row.
    start: u32,
    /// Positions that its last row sees.
    length: u32,
    head: u32,
    kv_head: u32,
}

impl<T: Float16> Problem<T> {
    #[inline(always)]
    fn task(&self) -> Task {
        // Blocks start in order: the longest first.
        let start = (thread::grid_dim_x() - 1 - thread::block_idx_x()) * Q_ROWS;
        let head = thread::block_idx_y();
        Task {
            start,
            length: self.first + (start + Q_ROWS).min(self.rows),
            head,
            kv_head: head / (self.q_heads / self.kv_heads),
        }
    }
}

impl<const DIM: u32, const SCORES: usize, const SUMS: usize> Heads<DIM, SCORES, SUMS>
where
    [f32; SCORES]: wgmma::Sums,
    [f32; SUMS]: wgmma::Sums,
{
    /// Positions of a stage.
    const POSITIONS: u32 = 2 * SCORES as u32;
    /// Bytes of Q, and of a stage.
    const Q_BYTES: u32 = Q_ROWS * DIM * 2;
    const STAGE_BYTES: u32 = Self::POSITIONS * DIM * 2;

    #[inline(always)]
    fn stage<T: Float16>(stage: u32) -> Shared<T> {
        swizzled_shared(Self::Q_BYTES + stage * Self::STAGE_BYTES)
    }

    /// Scores of the warpgroup's rows against a stage of K.
    #[inline(always)]
    fn score<T: Float16>(stage: u32, consumer: u32) -> [f32; SCORES] {
        let q = swizzled_shared::<T>(0).offset(consumer * wgmma::ROWS * TILE_COLUMNS);
        let k = Self::stage::<T>(stage);
        let mut scores = [0.0; SCORES];
        for tile in 0..DIM / TILE_COLUMNS {
            let q = wgmma::Tile::new(q.offset(tile * Q_ROWS * TILE_COLUMNS));
            let k = wgmma::Tile::new(k.offset(tile * Self::POSITIONS * TILE_COLUMNS));
            wgmma::multiply::<T, _>(&mut scores, q, k);
        }
        scores
    }

    /// Adds the weighted rows of a stage of V.
    #[inline(always)]
    fn add_values<T: Float16>(sums: &mut [f32; SUMS], weights: &[f32; SCORES], stage: u32) {
        for part in 0..SCORES / 32 {
            let rows = Self::stage::<T>(stage).offset(part as u32 * KV_BLOCK * TILE_COLUMNS);
            let v = wgmma::Tile::transposed(rows, Self::POSITIONS * TILE_COLUMNS * 2);
            wgmma::multiply_registers::<T, _>(sums, &pack::<T, SCORES>(weights, part), v);
        }
    }

    /// Tells that the warp has used a stage, and goes on to the next.
    #[inline(always)]
    fn leave(ring: Ring<STAGES>, place: &mut Place<STAGES>) {
        ring.leave(place.stage);
        place.advance();
    }

    /// The attention of the warpgroup's 64 rows.
    #[inline(always)]
    fn consume<T: Float16>(ring: Ring<STAGES>, problem: &Problem<T>, task: &Task, consumer: u32) {
        let first_row = task.start + consumer * wgmma::ROWS;
        let row = first_row + warp::warp_id() % 4 * 16 + warp::lane_id() / 4;
        let last_position = problem.first + first_row + wgmma::ROWS - 1;
        let mut softmax = Softmax::EMPTY;
        let mut sums = [0.0; SUMS];
        let mut place = Place::FIRST;
        let mut position = 0;
        while position < task.length {
            ring.wait_filled(place);
            // The other warpgroup's rows may see more positions than these.
            let seen = position <= last_position;
            let mut scores = [0.0; SCORES];
            if seen {
                scores = Self::score::<T>(place.stage, consumer);
            }
            Self::leave(ring, &mut place);
            if seen {
                if position + Self::POSITIONS > problem.first + first_row {
                    let lane_position = position + warp::lane_id() % 4 * 2;
                    mask(&mut scores, problem.first + row, lane_position);
                }
                let factors = softmax.update(&mut scores, problem.scale * LOG2_E);
                for (index, sum) in sums.iter_mut().enumerate() {
                    *sum *= factors[index / 2 % 2];
                }
            }
            ring.wait_filled(place);
            if seen {
                Self::add_values::<T>(&mut sums, &scores, place.stage);
            }
            Self::leave(ring, &mut place);
            position += Self::POSITIONS;
        }
        let out = problem.out.offset((task.head * DIM) as usize);
        let stride = problem.q_heads * DIM;
        Self::write(out, &sums, softmax.total(), (row, problem.rows, stride));
    }

    /// Writes the thread's two rows.
    #[inline(always)]
    fn write<T: Float16>(
        out: GlobalMut<T>,
        sums: &[f32; SUMS],
        totals: [f32; 2],
        (row, rows, stride): (u32, u32, u32),
    ) {
        for (half, total) in totals.iter().enumerate() {
            let row = row + 8 * half as u32;
            if row < rows {
                let inverse = 1.0 / total;
                let out = out.offset(row as usize * stride as usize).cast::<u32>();
                for tile in 0..SUMS / 4 {
                    let place = 4 * tile + 2 * half;
                    let word = T::pack(sums[place] * inverse, sums[place + 1] * inverse);
                    out.write(4 * tile + (warp::lane_id() % 4) as usize, word);
                }
            }
        }
    }

    /// The whole kernel.
    #[inline(always)]
    fn run<T: Float16>(problem: &Problem<T>) {
        let task = problem.task();
        let ring = Ring(swizzled_shared(Self::Q_BYTES + STAGES * Self::STAGE_BYTES));
        let warps = wgmma::THREADS / warp::SIZE;
        ring.init(warps, CONSUMERS * warps);
        let warpgroup = wgmma::warpgroup_id();
        if warpgroup == CONSUMERS {
            wgmma::give_registers::<PRODUCER_REGISTERS>();
            Self::produce(ring, problem, &task);
        } else {
            wgmma::take_registers::<CONSUMER_REGISTERS>();
            Self::consume(ring, problem, &task, warpgroup);
        }
    }
}

macro_rules! kernels {
    ($($name:ident, $element:ty, $dim:literal, $scores:literal;)*) => {$(
        /// Attention of the newest `rows` positions of a sequence, `first` positions before them:
        /// row `i` sees positions up to `first + i`.
        ///
        /// `out`, `q` `[rows, q_heads, dim]`; K and V of all `first + rows` positions in blocks
        /// whose addresses `k_blocks` and `v_blocks` hold. Grid `(ceil(rows / Q_ROWS), q_heads)`,
        /// block `(THREADS)`, dynamic shared memory [`shared_bytes`]. `kv_heads` divides
        /// `q_heads`, `scale` is positive.
        #[kernel(max_threads = THREADS)]
        pub fn $name(
            out: GlobalMut<$element>,
            q: Global<$element>,
            k_blocks: Global<u64>,
            v_blocks: Global<u64>,
            rows: u32,
            first: u32,
            q_heads: u32,
            kv_heads: u32,
            scale: f32,
        ) {
            let problem = Problem {
                out, q, k_blocks, v_blocks, rows, first, q_heads, kv_heads, scale,
            };
            Heads::<$dim, $scores, { $dim / 2 }>::run(&problem);
        }
    )*};
}

kernels! {
    prefill_attention_wgmma_64_bf16, bf16, 64, 64;
    prefill_attention_wgmma_128_bf16, bf16, 128, 64;
    prefill_attention_wgmma_256_bf16, bf16, 256, 32;
    prefill_attention_wgmma_64_f16, f16, 64, 64;
    prefill_attention_wgmma_128_f16, f16, 128, 64;
    prefill_attention_wgmma_256_f16, f16, 256, 32;
}
