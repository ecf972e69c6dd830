//! The way of a pair through the kernel.

use cuda_std::{Float16, Global, GlobalMut, Shared, U32x2, dynamic_shared, thread};

use super::gather::gather;
use super::hot_rows::HotRows;
use super::output::Rest;
use super::scan::{Keys, Target, Turn};
use super::scores::{RUN, Scores, Weights};
use super::select::{Range, Selection};
use super::sources::Sources;
use super::trace::{Mark, Trace};
use super::words::Words;
use super::{ADDRESSES, Arguments};
use crate::KV_BLOCK;
use crate::arrivals::is_last;
use crate::decode_scores::MAX_GROUP;
use crate::reduce::block_sum;
use crate::softmax::{Softmax, merge_partials, write_partials};
use crate::top_p::Masses;

/// One KV head of one sequence.
pub struct Pair {
    pub sequence: usize,
    pub kv_head: u32,
    /// Its place among all.
    pub index: usize,
    /// Its first query head among all.
    pub head: usize,
    /// Query heads that share it.
    pub group: u32,
    /// Positions of the sequence.
    pub length: u32,
}

impl Pair {
    /// The pair of the running block.
    #[inline(always)]
    fn of_block(lengths: Global<u32>, q_heads: u32) -> Self {
        let (kv_head, kv_heads) = (thread::block_idx_y(), thread::grid_dim_y());
        let sequence = thread::block_idx_z() as usize;
        let group = q_heads / kv_heads;
        Self {
            sequence,
            kv_head,
            index: sequence * kv_heads as usize + kv_head as usize,
            head: sequence * q_heads as usize + (kv_head * group) as usize,
            group,
            length: lengths.read(sequence),
        }
    }
}

impl<T: Float16, M: Trace> Arguments<T, M> {
    /// What every block does: `scan` gives a warp's softmax of queries over its part of the keys.
    #[inline(always)]
    pub fn run<const DIM: u32, const WORDS: usize>(
        &self,
        words: Words,
        scan: impl Fn(&Turn<T, M>, &Keys<T>, &Target, (u32, u32)) -> Softmax,
    ) {
        // No launch of a step writes the lengths.
        let pair = Pair::of_block(self.lengths, self.q_heads);
        if thread::block_idx_x() * self.split >= pair.length {
            return;
        }
        let splits = thread::grid_dim_x();
        let partials = self.partials.cast::<U32x2>();
        let partials = partials.offset(pair.head * splits as usize);
        self.scan::<DIM>(&pair, partials, words.softmaxes(), scan);
        self.trace.note(Mark::Scanned);
        let blocks = pair.length.div_ceil(self.split);
        if is_last(self.arrivals, pair.index, blocks, words.arrived()) {
            let parts = (blocks, splits);
            merge_partials(words.stats(), partials.as_const(), pair.group, parts);
            self.attend::<DIM, WORDS>(&pair, words);
            self.trace.note(Mark::Done);
        }
    }

    #[inline(always)]
    fn scores(&self, pair: &Pair) -> Scores {
        let runs = (self.score_stride / RUN) as usize;
        Scores {
            all: self.scores.offset(pair.head * self.score_stride as usize),
            maxima: self.maxima.offset(pair.head * runs),
            stride: self.score_stride,
            group: pair.group,
        }
    }

    /// Scores the block's part of the keys and writes its share of the softmax.
    #[inline(always)]
    fn scan<const DIM: u32>(
        &self,
        pair: &Pair,
        partials: GlobalMut<U32x2>,
        shared: Shared<U32x2>,
        scan: impl Fn(&Turn<T, M>, &Keys<T>, &Target, (u32, u32)) -> Softmax,
    ) {
        let turn = Turn {
            q: self.q.offset(pair.head * DIM as usize),
            group: pair.group,
            trace: self.trace,
        };
        let table = pair.sequence * self.table_stride as usize;
        let keys = Keys::<T>::new::<DIM>(self.k_table.offset(table), pair);
        let target = Target {
            scores: self.scores(pair),
            length: pair.length,
            scale: self.scale,
        };
        let split = thread::block_idx_x();
        let part = (split * self.split, (split + 1) * self.split);
        let softmax = scan(&turn, &keys, &target, part);
        let (partials, heads) = (partials.offset(split as usize), (pair.group, MAX_GROUP));
        write_partials(partials, shared, softmax, heads, thread::grid_dim_x());
    }

    /// Selects, looks up and sums the rows of V of a pair that is scored.
    #[inline(always)]
    fn attend<const DIM: u32, const WORDS: usize>(&self, pair: &Pair, words: Words) {
        let weights = Weights {
            scores: self.scores(pair),
            stats: words.stats(),
            group_score: self.group_score,
        };
        let first = self.sinks.min(pair.length);
        let end = pair.length.saturating_sub(self.window).max(first);
        let range = Range { first, end };
        let rows = pair.index * self.row_stride as usize;
        let rows = self.rows.cast::<U32x2>().offset(rows);
        let chosen = self.select(pair, &weights, range, rows, words);
        self.trace.note(Mark::Selected);

        let memory = self.memory.offset(pair.sequence * ADDRESSES as usize);
        let kv_head = pair.kv_head as usize;
        let hot = kv_head * self.slots as usize;
        let hits = self.look_up(memory, pair, rows, chosen, words.sums());
        self.trace.note(Mark::LookedUp);
        let near = kv_head * (self.sinks + self.window) as usize * DIM as usize;
        let table = pair.sequence * self.table_stride as usize;
        let sources = Sources {
            rows,
            range,
            chosen,
            sinks: self.sinks,
            window: self.window,
            near: Global::from_address(memory.read(0)).offset(near),
            hot: GlobalMut::from_address(memory.read(1)).offset(hot * DIM as usize),
            table: self.v_table.offset(table),
        };
        if thread::thread_idx_x() == 0 {
            let count = sources.count(pair.length);
            self.counts.write(pair.index, count);
            let traffic = GlobalMut::<u64>::from_address(self.traffic.read(pair.sequence));
            let add = |i, rows: u32| traffic.atomic_add(i, u64::from(rows));
            add(0, count);
            add(1, hits);
            add(2, chosen - hits);
        }
        let rest = Rest {
            weighting: self.weighting,
            totals: self.totals.offset(pair.sequence),
            kept: words.scratch().cast(),
        };
        let room = dynamic_shared(0);
        let out = self.out.offset(pair.head * DIM as usize);
        if pair.group == 1 {
            gather::<T, DIM, 1, WORDS>(&sources, &weights, pair, room, rest.kept);
            rest.write::<T, DIM>(out, (room.cast(), 1), pair);
        } else {
            const ALL: usize = MAX_GROUP as usize;
            gather::<T, DIM, ALL, WORDS>(&sources, &weights, pair, room, rest.kept);
            rest.write::<T, DIM>(out, (room.cast(), MAX_GROUP), pair);
        }
    }

    /// Lists the selected rows of the range and gives their number.
    #[inline(always)]
    fn select(
        &self,
        pair: &Pair,
        weights: &Weights,
        range: Range,
        rows: GlobalMut<U32x2>,
        words: Words,
    ) -> u32 {
        let masses = pair.index * self.score_stride as usize;
        let values = weights.values(pair.length, self.masses.offset(masses));
        let selection = Selection {
            values,
            shared: dynamic_shared(0),
            capacity: self.candidates,
            scratch: words.scratch(),
        };
        let chosen = self.top.min(range.end - range.first);
        selection.select(range, chosen, rows);
        thread::sync_threads();
        if self.p >= 1.0 || chosen == 0 {
            return chosen;
        }
        let masses = Masses {
            of_row: dynamic_shared(0),
            scratch: words.sums().cast(),
            count: chosen,
        };
        masses.fill(|i| weights.mass(rows.read(i as usize).0[0]));
        let mut near = 0.0;
        let mut i = thread::thread_idx_x();
        while i < range.first + pair.length - range.end {
            let after = if i < range.first {
                0
            } else {
                range.end - range.first
            };
            near += weights.mass(i + after);
            i += thread::block_dim_x();
        }
        let near = block_sum(near, masses.scratch);
        let cut = masses.cut(|_| true, self.p * pair.group as f32 - near);
        let kept = masses.keep(cut, |_| true, rows);
        thread::sync_threads();
        kept
    }

    /// Gives the rows their slots among the hot rows, and the number of those that are there.
    #[inline(always)]
    fn look_up(
        &self,
        memory: Global<u64>,
        pair: &Pair,
        rows: GlobalMut<U32x2>,
        count: u32,
        sums: Shared<u32>,
    ) -> u32 {
        if self.slots == 0 {
            return 0;
        }
        let kv_head = pair.kv_head as usize;
        let slots = kv_head * self.slots as usize;
        let positions = kv_head * (self.table_stride * KV_BLOCK) as usize;
        let hot_rows = HotRows {
            slot_of: GlobalMut::from_address(memory.read(2)).offset(positions),
            position_of: GlobalMut::from_address(memory.read(3)).offset(slots),
            order: GlobalMut::from_address(memory.read(4)).offset(slots),
            slots: self.slots,
        };
        hot_rows.update(rows, count, dynamic_shared(0), sums)
    }
}
