//! The clock of launches: steps are as without it, and each launch's turn is noted.

use std::sync::Arc;

use super::checkpoint::SMALLEST;
use super::{Cuda, HOPPER, Tuning, device_with_newest_kernels};
use crate::cache::KvPolicy;
use crate::driver::{Device, LaunchClock, Turn};
use crate::engine::{CancelFlag, Context, ContextOptions, Model, Step};

/// Decode steps, the last of which are replayed graphs.
const STEPS: u32 = 4;

/// The bits of the logits of some steps, and the turns of each.
fn run(gpu: Cuda, clock: Option<&LaunchClock>) -> (Vec<u32>, Vec<Vec<Turn>>) {
    let folder = SMALLEST.write(31);
    let model = Arc::new(Model::load(folder.path(), gpu, &mut |_, _| Ok(())).unwrap());
    let options = ContextOptions {
        policy: KvPolicy::full(),
        ..ContextOptions::default()
    };
    let mut context = Context::new(model, &options).unwrap();
    let mut sequence = context.sequence().unwrap();
    let never = CancelFlag::default();
    context.prefill(&mut sequence, &[1, 2, 3], &never).unwrap();
    let (mut bits, mut turns) = (Vec::new(), Vec::new());
    for token in 0..STEPS {
        clock.iter().for_each(|clock| drop(clock.turns().unwrap()));
        let sequence = &mut sequence;
        let logits = context.decode(&mut [Step { sequence, token }]).unwrap();
        bits.extend(logits.into_iter().map(f32::to_bits));
        turns.extend(clock.map(|clock| clock.turns().unwrap()));
    }
    (bits, turns)
}

#[test]
fn each_launch_of_a_step_has_its_turn() {
    let device = Device::open(HOPPER).unwrap();
    let overlaps = device.capability.major >= 9;
    let (gpu, clock) = Cuda::with_launch_clock(device, &Tuning::newest()).unwrap();
    let (bits, turns) = run(gpu, Some(&clock));
    assert_eq!(bits, run(device_with_newest_kernels(HOPPER), None).0);
    for step in &turns {
        assert!(step.is_sorted_by_key(|turn| turn.at));
    }
    // Without a device, nothing runs the text that was added.
    if cfg!(feature = "gpu-tests") && overlaps {
        for step in turns {
            let attention = |turn: &&Turn| turn.kernel.starts_with("decode_attention");
            assert_eq!(step.iter().filter(attention).count(), SMALLEST.layers);
        }
    }
}
