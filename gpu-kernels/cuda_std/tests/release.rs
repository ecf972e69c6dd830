//! Blocks ordered by atomic operations: the last to arrive may read what the others wrote, if each
//! step of the pattern is there, and the emulation must find whichever is missing.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use cuda_std::emulation::{FindingKind, Findings, Gpu, LaunchConfig};
use cuda_std::{Kernel, shared_array, thread};

const THREADS: u32 = 64;
const BLOCKS: u32 = 3;

const ANY: Kernel = Kernel {
    name: "release",
    max_threads: THREADS,
    min_blocks: 1,
    parameters: &[],
    call: |_| {},
};

/// What is left out of the pattern.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    NoRelease,
    NoBarrierBefore,
    NoBarrierAfter,
    WriteAfterRelease,
    CounterOverwritten,
}

/// Each block writes its part and arrives; the last sums the parts and resets the counter. Twice.
fn sum_by_the_last(fault: Fault) -> Result<Vec<f32>, Findings> {
    let mut gpu = Gpu::new();
    let parts = gpu.allocate::<f32>("parts", (BLOCKS * THREADS) as usize);
    let sums = gpu.allocate::<f32>("sums", THREADS as usize);
    let arrivals = gpu.upload("arrivals", &[0u32]).global_mut();
    let (part, sum) = (parts.global_mut(), sums.global_mut());
    for round in 0..2 {
        let config = LaunchConfig::new([BLOCKS, 1, 1], THREADS).seed(round);
        gpu.launch(&ANY, config, move || {
            let arrived = shared_array![u32; 1];
            let (i, index) = (thread::thread_idx_x(), thread::index_1d() as usize);
            part.write(index, i as f32);
            if fault != Fault::NoBarrierBefore {
                thread::sync_threads();
            }
            if i == 0 {
                if fault == Fault::CounterOverwritten && thread::block_idx_x() == 1 {
                    arrivals.write(0, 1);
                }
                arrived.write(
                    0,
                    if fault == Fault::NoRelease {
                        arrivals.atomic_add(0, 1)
                    } else {
                        arrivals.atomic_add_acquire_release(0, 1)
                    },
                );
            }
            if fault == Fault::WriteAfterRelease {
                part.write(index, i as f32);
            }
            // The emulation runs blocks in order.
            let last = if fault == Fault::NoBarrierAfter {
                thread::block_idx_x() == BLOCKS - 1
            } else {
                thread::sync_threads();
                arrived.read(0) == BLOCKS - 1
            };
            if last {
                let of = |block: u32| part.read((block * THREADS + i) as usize);
                sum.write(i as usize, of(0) + of(1) + of(2));
                if i == 0 {
                    arrivals.write(0, 0);
                }
            }
        })?;
    }
    Ok(gpu.download(sums))
}

#[test]
fn the_last_block_may_read_what_the_others_released() {
    let sums = sum_by_the_last(Fault::None).unwrap();
    let expected: Vec<f32> = (0..THREADS).map(|i| 3.0 * i as f32).collect();
    assert_eq!(sums, expected);
}

#[test]
fn each_missing_step_is_a_race() {
    for fault in [
        Fault::NoRelease,
        Fault::NoBarrierBefore,
        Fault::NoBarrierAfter,
        Fault::WriteAfterRelease,
        Fault::CounterOverwritten,
    ] {
        let findings = sum_by_the_last(fault).expect_err("the fault was not found");
        let race = |f: &cuda_std::emulation::Finding| f.kind == FindingKind::Race;
        assert!(findings.list.iter().all(race), "{findings}");
    }
}
