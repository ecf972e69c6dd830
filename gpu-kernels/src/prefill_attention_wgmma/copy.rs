//! The warpgroup that copies: Q, then blocks of K and V by turns.

use cuda_std::{Float16, Global, Shared, async_copy, swizzled_shared, thread, warp, wgmma};

use super::{Heads, Problem, Q_ROWS, STAGES, TILE_COLUMNS, Task};
use crate::KV_BLOCK;
use crate::ring::{Place, Ring};

/// Stages whose copies are under way while the next one starts.
const LAG: u32 = 2;

/// Starts copying `rows` rows of `DIM` elements by a warpgroup into tiles of `tile_rows` rows, from
/// row `at` on. `row` gives a row's address, and whether it is valid; if not it becomes zero.
#[inline(always)]
fn start_copy<T: Float16, const DIM: u32>(
    tiles: Shared<T>,
    (at, rows, tile_rows): (u32, u32, u32),
    row: impl Fn(u32) -> (Global<T>, bool),
) {
    let parts = DIM / 8;
    let mut unit = thread::thread_idx_x() % wgmma::THREADS;
    while unit < rows * parts {
        let (index, part) = (unit / parts, unit % parts);
        let (source, valid) = row(index);
        let place = (part / 8 * tile_rows + at + index) * TILE_COLUMNS;
        let swizzled = ((part % 8) ^ ((at + index) % 8)) * 8;
        // What is not valid has no address past its row's either.
        let column = if valid { part * 8 } else { 0 };
        async_copy::copy_16(
            tiles.offset(place + swizzled),
            source.offset(column as usize),
            if valid { 16 } else { 0 },
        );
        unit += wgmma::THREADS;
    }
}

impl<const DIM: u32, const SCORES: usize, const SUMS: usize> Heads<DIM, SCORES, SUMS>
where
    [f32; SCORES]: wgmma::Sums,
    [f32; SUMS]: wgmma::Sums,
{
    /// Starts copying one stage of K or V of a head; positions from `length` on become zero.
    #[inline(always)]
    fn start_stage<T: Float16>(stage: u32, blocks: Global<u64>, task: &Task, position: u32) {
        let mut at = 0;
        while at < Self::POSITIONS {
            let position = position + at;
            // A block past the last keeps a valid address, and reads nothing from it.
            let block = position.min(task.length - 1) / KV_BLOCK;
            let start = Global::<T>::from_address(blocks.read(block as usize))
                .offset((task.kv_head * KV_BLOCK * DIM) as usize);
            let tile_rows = Self::POSITIONS;
            start_copy::<T, DIM>(Self::stage(stage), (at, KV_BLOCK, tile_rows), |i| {
                let valid = position + i < task.length;
                let row = if valid { i * DIM } else { 0 };
                (start.offset(row as usize), valid)
            });
            at += KV_BLOCK;
        }
    }

    /// Tells that the thread's copies into the stage have arrived.
    #[inline(always)]
    fn publish(ring: Ring<STAGES>, place: &mut Place<STAGES>) {
        wgmma::fence_shared();
        warp::sync_warp(warp::ALL);
        if warp::lane_id() == 0 {
            ring.filled(place.stage).arrive();
        }
        place.advance();
    }

    /// Copies Q, and K and V of all positions by turns.
    #[inline(always)]
    pub(super) fn produce<T: Float16>(ring: Ring<STAGES>, problem: &Problem<T>, task: &Task) {
        let stride = (problem.q_heads * DIM) as usize;
        let q = problem.q.offset((task.head * DIM) as usize);
        start_copy::<T, DIM>(swizzled_shared(0), (0, Q_ROWS, Q_ROWS), |i| {
            let row = task.start + i;
            let valid = row < problem.rows;
            (
                q.offset(if valid { row as usize } else { 0 } * stride),
                valid,
            )
        });
        let stages = 2 * task.length.div_ceil(Self::POSITIONS);
        let (mut place, mut arrived) = (Place::FIRST, Place::FIRST);
        let mut index = 0;
        while index < stages {
            ring.wait_free(place);
            let is_k = index % 2 == 0;
            let blocks = if is_k {
                problem.k_blocks
            } else {
                problem.v_blocks
            };
            Self::start_stage::<T>(place.stage, blocks, task, index / 2 * Self::POSITIONS);
            async_copy::commit();
            place.advance();
            if index >= LAG {
                async_copy::wait::<LAG>();
                Self::publish(ring, &mut arrived);
            }
            index += 1;
        }
        async_copy::wait::<0>();
        let mut rest = stages.min(LAG);
        while rest > 0 {
            Self::publish(ring, &mut arrived);
            rest -= 1;
        }
    }
}
