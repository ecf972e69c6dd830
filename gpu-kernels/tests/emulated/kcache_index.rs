//! The index of the hot rows alone, against a model of it: no kernel of the image, so only in the
//! emulation.

use cuda_std::{GlobalMut, dynamic_shared, kernel, shared_array, thread};
use gpu_kernels::kcache_attention::THREADS;
use gpu_kernels::kcache_attention::hot_rows::{
    self, FETCHED, HotRows, NO_POSITION, NO_SLOT, NOT_HOT,
};

use crate::device::{Gpu, LaunchConfig};
use crate::kcache_model::Model;
use crate::support::Random;

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
        hits.write(0, found);
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
