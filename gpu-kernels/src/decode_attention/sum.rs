//! From the warps' sums to the block's, and from those of the blocks to the output.

use cuda_std::{F32x2, Float16, Global, GlobalMut, dynamic_shared, math, thread};

use super::rows::{Room, merge_warps};
use super::{Arguments, Pair, THREADS};
use crate::arrivals::is_last;

impl<T: Float16> Arguments<T> {
    /// What a block does that has a part in its pair, whose first rows are near.
    #[inline(always)]
    pub fn run<const DIM: u32, const PARTS: usize, const HEADS: usize>(
        &self,
        pair: &Pair,
        near: [Global<T>; 2],
        room: Room,
    ) {
        let seen = self.see::<DIM, PARTS, HEADS>(pair, near, room);
        let sums = dynamic_shared(0);
        seen.write::<DIM>(room, sums);
        thread::sync_threads();
        let splits = thread::grid_dim_x() as usize;
        let partials = self.partials.offset(pair.head * splits * DIM as usize);
        let stats = self.stats.cast::<F32x2>().offset(pair.head * splits);
        let out = self.out.offset(pair.head * DIM as usize);
        let mut i = thread::thread_idx_x();
        while i < pair.group * DIM {
            let (head, column) = (i / DIM, i % DIM);
            let (max, sum, value) = merge_warps::<DIM, HEADS>(room, head, sums.offset(i));
            if pair.parts == 1 {
                out.write(i as usize, T::from_f32(value / sum));
            } else {
                let place = head as usize * splits + pair.part as usize;
                partials.write(place * DIM as usize + column as usize, value);
                if column == 0 {
                    stats.write(place, F32x2([max, sum]));
                }
            }
            i += THREADS;
        }
        let last = || is_last(self.arrivals, pair.index, pair.parts, room.arrived);
        if pair.parts > 1 && last() {
            combine::<T, DIM>(out, partials, stats, pair, splits);
        }
    }
}

/// Blocks whose sums are read at once.
const PARTS_AT_ONCE: usize = 8;

/// Adds the blocks' sums of the pair's heads.
#[inline(always)]
fn combine<T: Float16, const DIM: u32>(
    out: GlobalMut<T>,
    partials: GlobalMut<f32>,
    stats: GlobalMut<F32x2>,
    pair: &Pair,
    splits: usize,
) {
    let parts = pair.parts as usize;
    let mut i = thread::thread_idx_x();
    while i < pair.group * DIM {
        let (head, column) = ((i / DIM) as usize, (i % DIM) as usize);
        let (mut max, mut sum, mut value) = (f32::NEG_INFINITY, 0.0, 0.0);
        let mut first = 0;
        while first < parts {
            // Past the last part it stands in: all reads are under way together.
            let places: [usize; PARTS_AT_ONCE] =
                core::array::from_fn(|i| head * splits + (first + i).min(parts - 1));
            let stats = places.map(|place| stats.read(place).0);
            let partials = places.map(|place| partials.read(place * DIM as usize + column));
            let before = max;
            for [part_max, _] in &stats {
                max = max.max(*part_max);
            }
            let factor = math::exp(before - max);
            sum *= factor;
            value *= factor;
            for (i, ([part_max, part_sum], partial)) in stats.iter().zip(&partials).enumerate() {
                if first + i < parts {
                    let factor = math::exp(part_max - max);
                    sum = math::fma(*part_sum, factor, sum);
                    value = math::fma(*partial, factor, value);
                }
            }
            first += PARTS_AT_ONCE;
        }
        out.write(i as usize, T::from_f32(value / sum));
        i += THREADS;
    }
}
