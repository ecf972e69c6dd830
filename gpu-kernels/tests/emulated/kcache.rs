//! The fused decode attention against plain arithmetic: lengths, groups, head sizes, ties,
//! weightings, and the ways that a selection can take.

use cuda_std::{Float16, Kernel, bf16, f16};
use gpu_kernels::kcache_attention as fused;
use gpu_kernels::select_rows::GroupScore;
use gpu_kernels::v_combine::Weighting;

use crate::kcache_step::{Attention, Setup, Step};

macro_rules! kernel {
    ($name:ident, $NAME:ident) => {
        (&fused::$NAME, fused::$name)
    };
}
pub(crate) use kernel;

const KERNEL_64: (&Kernel, Attention<bf16>) =
    kernel!(kcache_attention_64_bf16, KCACHE_ATTENTION_64_BF16);
const KERNEL_128: (&Kernel, Attention<bf16>) =
    kernel!(kcache_attention_128_bf16, KCACHE_ATTENTION_128_BF16);

/// Runs a step twice on the same counters and compares.
fn check<T: Float16>(kernel: (&Kernel, Attention<T>), setup: Setup, seed: u64) -> Step<T> {
    let mut step = Step::<T>::new(setup, seed);
    for launch in 0..2 {
        step.launch(kernel, seed + launch)
            .unwrap_or_else(|findings| panic!("{:?}: {findings}", step.setup));
        step.compare();
    }
    step
}

#[test]
fn lengths_around_blocks_and_splits() {
    for (seed, length) in [1, 2, 7, 8, 63, 64, 65, 200, 256, 257, 1100]
        .into_iter()
        .enumerate()
    {
        check(KERNEL_64, Setup::new(64, length), 300 + seed as u64);
        check(KERNEL_128, Setup::new(128, length), 320 + seed as u64);
    }
}
