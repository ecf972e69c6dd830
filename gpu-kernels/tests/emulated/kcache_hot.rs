//! The hot rows of the fused decode attention against a model of them in plain Rust.

use cuda_std::{Float16, bf16};
use gpu_kernels::kcache_attention::hot_rows::{FETCHED, NO_POSITION, NO_SLOT};

use crate::kcache::{BF16_64, available};
use crate::kcache_model::Model;
use crate::kcache_setup::Setup;
use crate::kcache_step::Step;
use crate::support::Random;

/// A step, and models of the hot rows of its pairs.
struct Hot {
    step: Step<bf16>,
    models: Vec<Model>,
    traffic: [u64; 3],
}

impl Hot {
    fn new(setup: Setup, seed: u64) -> Self {
        let pairs = setup.lengths.len() * setup.kv_heads;
        Self {
            models: (0..pairs).map(|_| Model::new(setup.slots)).collect(),
            step: Step::new(setup, seed),
            traffic: [0; 3],
        }
    }

    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let heads = self.step.setup.kv_heads;
        (0..self.models.len()).map(move |pair| (pair / heads, pair % heads))
    }

    /// Makes NaN of every row of V in host memory that the next launch has no need to read: near
    /// rows and hot ones.
    fn poison(&mut self) {
        let Setup { kv_heads, dim, .. } = self.step.setup;
        for (sequence, head) in self.pairs() {
            let length = self.step.setup.lengths[sequence];
            let middle = self.step.setup.middle(length);
            for position in 0..length {
                let hot = self.models[sequence * kv_heads + head].slot(position);
                let row: Vec<bf16> = if hot.is_some() || !middle.contains(&position) {
                    vec![bf16::from_f32(f32::NAN); dim]
                } else {
                    self.row(sequence, position, head)
                };
                let block = self.step.v.blocks[sequence][position / 64];
                let at = (head * 64 + position % 64) * dim;
                self.step.gpu.write(block, at, &row);
            }
        }
    }

    fn row(&self, sequence: usize, position: usize, head: usize) -> Vec<bf16> {
        let row = self.step.v.row(sequence, position, head);
        row.iter().map(|&x| bf16::from_f32(x as f32)).collect()
    }

    /// Launches, compares the output, and compares slots, index and rows with the models.
    fn run(&mut self, seed: u64) {
        self.poison();
        let variants: Vec<_> = available(BF16_64).collect();
        let variant = variants[seed as usize % variants.len()];
        let outcome = self.step.launch(variant, seed);
        assert!(outcome.is_ok(), "{outcome:?}: {:?}", self.step.setup);
        self.step.compare();
        for (sequence, head) in self.pairs() {
            let pair = sequence * self.step.setup.kv_heads + head;
            let selected = self.step.selected(pair);
            let needed: Vec<usize> = selected.iter().map(|&(position, _)| position).collect();
            let slots: Vec<u32> = selected.iter().map(|&(_, slot)| slot).collect();
            assert_eq!(self.models[pair].step(&needed), slots, "{needed:?}");
            let fetched = slots.iter().filter(|&slot| slot & FETCHED != 0).count();
            let setup = &self.step.setup;
            let length = setup.lengths[sequence];
            let near = length - setup.middle(length).len();
            self.traffic[0] += (near + slots.len()) as u64;
            self.traffic[1] += (slots.len() - fetched) as u64;
            self.traffic[2] += fetched as u64;
            self.compare_index(sequence, head);
        }
        assert_eq!(self.step.gpu.download(self.step.traffic), self.traffic);
    }

    fn compare_index(&mut self, sequence: usize, head: usize) {
        let Setup {
            kv_heads,
            dim,
            slots,
            ..
        } = self.step.setup;
        let memory = self.step.memories[sequence];
        let gpu = &mut self.step.gpu;
        let order = gpu.read(memory.order, head * slots, slots);
        let position_of = gpu.read(memory.position_of, head * slots, slots);
        let positions = self.step.k.table_stride * 64;
        let slot_of = gpu.read(memory.slot_of, head * positions, positions);
        let model = &self.models[sequence * kv_heads + head];
        assert!(model.order.iter().map(|&(slot, _)| slot).eq(order));
        let mut slots_held = vec![NO_SLOT; positions];
        for &(slot, held) in &model.order {
            let position = held.map_or(NO_POSITION, |position| position as u32);
            assert_eq!(position_of[slot as usize], position);
            if let Some(position) = held {
                slots_held[position] = slot;
                let at = (head * slots + slot as usize) * dim;
                let row = self.step.gpu.read(memory.hot, at, dim);
                assert_eq!(row, self.row(sequence, position, head), "row {position}");
            }
        }
        assert_eq!(slot_of, slots_held);
    }

    /// New queries, near the last ones or not.
    fn ask(&mut self, random: &mut Random) {
        let change = [0.0, 0.1, 0.5, 1.0][random.below(4) as usize];
        let old = self.step.q.clone();
        let fresh = random.floats(old.len());
        let mix =
            |(q, x): (bf16, f32)| bf16::from_f32(q.to_f32() * (1.0 - change) + 4.0 * x * change);
        let q = old.into_iter().zip(fresh).map(mix).collect();
        self.step.set_queries(q);
    }
}

#[test]
fn capacities_from_none_to_plenty() {
    for (seed, slots) in (500..).zip([0, 1, 7, 8, 16, 32, 200]) {
        let setup = Setup {
            q_heads: 4,
            kv_heads: 2,
            lengths: vec![150, 90],
            top: 8,
            slots,
            ..Setup::new(64, 0)
        };
        let mut hot = Hot::new(setup, seed);
        let mut random = Random::new(seed);
        for step in 0..6 {
            hot.run(seed + step);
            hot.ask(&mut random);
        }
    }
}

/// More rows than the block has threads, in more rounds than one.
#[test]
fn many_hot_rows() {
    for slots in [100, 300, 700] {
        let setup = Setup {
            lengths: vec![900],
            top: 260,
            slots,
            ..Setup::new(64, 0)
        };
        let mut hot = Hot::new(setup, 520);
        let mut random = Random::new(520);
        for step in 0..4 {
            hot.run(step);
            hot.ask(&mut random);
        }
    }
}

/// The output does not depend on where the rows come from, to the last bit.
#[test]
fn hot_rows_change_no_bit() {
    let setup = |slots| Setup {
        lengths: vec![300],
        slots,
        ..Setup::new(64, 0)
    };
    let mut without = Hot::new(setup(0), 530);
    let mut with = Hot::new(setup(25), 530);
    let (mut first, mut second) = (Random::new(531), Random::new(531));
    for step in 0..10 {
        without.run(step);
        with.run(step);
        let bits = |hot: &mut Hot| hot.step.gpu.download(hot.step.out);
        assert_eq!(bits(&mut without), bits(&mut with));
        without.ask(&mut first);
        with.ask(&mut second);
    }
    assert!(with.traffic[1] > 0);
}

/// Sequences that grow from 24 positions to 64.
#[test]
fn growing_sequences() {
    const STEPS: usize = 150;
    let setup = Setup {
        q_heads: 4,
        kv_heads: 4,
        lengths: vec![64],
        sinks: 1,
        window: 2,
        top: 3,
        slots: 5,
        candidates: 64,
        ..Setup::new(64, 0)
    };
    let mut hot = Hot::new(setup, 540);
    let mut random = Random::new(541);
    for step in 0..STEPS {
        hot.step.set_length(0, 24 + step * 41 / STEPS);
        hot.run(step as u64);
        hot.ask(&mut random);
    }
    let [_, hits, fetched] = hot.traffic;
    assert_eq!(hits + fetched, 4 * 3 * STEPS as u64);
    assert!(hits > 300 && fetched > 300, "{hits} hits");
}
