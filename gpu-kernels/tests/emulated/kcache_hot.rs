//! The hot rows of the fused decode attention against a model of them in plain Rust.

use cuda_std::{Float16, GlobalMut, bf16, dynamic_shared, kernel, shared_array, thread};
use gpu_kernels::kcache_attention::THREADS;
use gpu_kernels::kcache_attention::hot_rows::{
    self, FETCHED, HotRows, NO_POSITION, NO_SLOT, NOT_HOT,
};

use crate::device::{Gpu, LaunchConfig};
use crate::kcache::BF16_64;
use crate::kcache_step::{Setup, Step};
use crate::support::Random;

/// The hot rows of one pair: slots from the one used longest ago to the one used last.
struct Model {
    order: Vec<(u16, Option<usize>)>,
}

impl Model {
    fn new(slots: usize) -> Self {
        let order = (0..slots as u16).map(|slot| (slot, None)).collect();
        Self { order }
    }

    fn slot(&self, position: usize) -> Option<u16> {
        let found = self.order.iter().find(|(_, held)| *held == Some(position));
        found.map(|&(slot, _)| slot)
    }

    /// The slots of the positions of a step, as the kernel writes them.
    fn step(&mut self, needed: &[usize]) -> Vec<u32> {
        let is_needed = |held: Option<usize>| held.is_some_and(|p| needed.contains(&p));
        let (used, unused): (Vec<_>, Vec<_>) =
            self.order.iter().partition(|(_, held)| is_needed(*held));
        let mut free = unused.into_iter();
        let mut latest = Vec::new();
        let mut slots = Vec::new();
        for &position in needed {
            let hit = used.iter().find(|(_, held)| *held == Some(position));
            let taken = if hit.is_some() { None } else { free.next() };
            slots.push(match (hit, taken) {
                (Some(&(slot, _)), _) => u32::from(slot),
                (None, Some((slot, _))) => u32::from(slot) | FETCHED,
                (None, None) => NOT_HOT,
            });
            let slot = hit.copied().or(taken).map(|(slot, _)| slot);
            latest.extend(slot.map(|slot| (slot, Some(position))));
        }
        self.order = free.chain(latest).collect();
        slots
    }
}

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
        self.step
            .launch(BF16_64, seed)
            .unwrap_or_else(|findings| panic!("{:?}: {findings}", self.step.setup));
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

const COUNTS: u32 = 32;

/// The update of the index alone.
#[kernel(max_threads = THREADS)]
fn update(
    rows: GlobalMut<u32>,
    hits: GlobalMut<u32>,
    slot_of: GlobalMut<u16>,
    position_of: GlobalMut<u32>,
    order: GlobalMut<u16>,
    slots: u32,
    count: u32,
) {
    let counts = shared_array![u32; COUNTS];
    let hot_rows = HotRows {
        slot_of,
        position_of,
        order,
        slots,
    };
    let found = hot_rows.update(rows.cast(), count, dynamic_shared(0), counts);
    if thread::thread_idx_x() == 0 {
        hits.write(0, found.hits);
    }
}

/// Ten thousand steps of up to ten rows among 24 to 40 positions, with room for 13 at most.
#[test]
fn ten_thousand_steps() {
    const POSITIONS: usize = 40;
    const MOST: usize = 10;
    let mut random = Random::new(550);
    for slots in [1u16, 5, 13] {
        let mut gpu = Gpu::new();
        let slot_of = gpu.upload("slot_of", &[NO_SLOT; POSITIONS]);
        let position_of = gpu.upload("position_of", &vec![NO_POSITION; usize::from(slots)]);
        let order = gpu.upload("order", &(0..slots).collect::<Vec<_>>());
        let (rows, hits) = (gpu.allocate("rows", 2 * MOST), gpu.allocate("hits", 1));
        let mut model = Model::new(usize::from(slots));
        for step in 0..3334u32 {
            let positions = 24 + step * 16 / 3334;
            let count = random.below(MOST as u32 + 1) as usize;
            let mut needed: Vec<usize> = (0..count)
                .map(|_| random.below(positions).min(random.below(positions)) as usize)
                .collect();
            needed.sort_unstable();
            needed.dedup();
            let list: Vec<u32> = needed.iter().flat_map(|&p| [p as u32, NOT_HOT]).collect();
            gpu.write(rows, 0, &list);
            let config = LaunchConfig::new([1, 1, 1], THREADS)
                .dynamic_shared(hot_rows::shared_bytes(u32::from(slots)))
                .seed(u64::from(step));
            let (r, h) = (rows.global_mut(), hits.global_mut());
            let (s, p, o) = (
                slot_of.global_mut(),
                position_of.global_mut(),
                order.global_mut(),
            );
            let count = needed.len() as u32;
            gpu.launch(&UPDATE, config, move || {
                update(r, h, s, p, o, u32::from(slots), count)
            })
            .unwrap();
            let expected = model.step(&needed);
            let list: Vec<u32> = gpu.read(rows, 0, list.len());
            assert!(
                list.chunks(2)
                    .map(|row| row[1])
                    .eq(expected.iter().copied())
            );
            let hot = expected.iter().filter(|&slot| slot & FETCHED == 0).count();
            assert_eq!(gpu.download(hits), [hot as u32]);
            assert!(
                model
                    .order
                    .iter()
                    .map(|&(slot, _)| slot)
                    .eq(gpu.download(order))
            );
        }
        let held = gpu.download(slot_of);
        assert!((0..POSITIONS).all(|p| model.slot(p).unwrap_or(NO_SLOT) == held[p]));
    }
}
