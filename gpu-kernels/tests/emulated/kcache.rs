//! The fused decode attention against plain arithmetic: lengths, groups, head sizes, ties,
//! weightings, and the ways that a selection can take.

use cuda_std::{Float16, bf16, f16};
use gpu_kernels::kcache_attention as fused;
use gpu_kernels::select_rows::GroupScore;
use gpu_kernels::v_combine::Weighting;

use crate::device::has_wgmma;
use crate::kcache_setup::Setup;
use crate::kcache_step::{Step, Variant};

/// The kernels for a size of heads: keys in registers, and copied ahead.
pub type Variants<T> = [Variant<T>; 2];

macro_rules! variants {
    ($constant:ident, $element:ty: $name:ident $NAME:ident, $copied:ident $COPIED:ident) => {
        pub const $constant: Variants<$element> = [
            Variant {
                kernel: &fused::$NAME,
                attention: fused::$name,
                shared_bytes: fused::shared_bytes,
                hopper: false,
            },
            Variant {
                kernel: &fused::$COPIED,
                attention: fused::$copied,
                shared_bytes: fused::shared_bytes_copied,
                hopper: true,
            },
        ];
    };
}

variants!(BF16_64, bf16:
    kcache_attention_64_bf16 KCACHE_ATTENTION_64_BF16,
    kcache_attention_copied_64_bf16 KCACHE_ATTENTION_COPIED_64_BF16);
variants!(BF16_96, bf16:
    kcache_attention_96_bf16 KCACHE_ATTENTION_96_BF16,
    kcache_attention_copied_96_bf16 KCACHE_ATTENTION_COPIED_96_BF16);
variants!(BF16_128, bf16:
    kcache_attention_128_bf16 KCACHE_ATTENTION_128_BF16,
    kcache_attention_copied_128_bf16 KCACHE_ATTENTION_COPIED_128_BF16);
variants!(BF16_256, bf16:
    kcache_attention_256_bf16 KCACHE_ATTENTION_256_BF16,
    kcache_attention_copied_256_bf16 KCACHE_ATTENTION_COPIED_256_BF16);
variants!(F16_64, f16:
    kcache_attention_64_f16 KCACHE_ATTENTION_64_F16,
    kcache_attention_copied_64_f16 KCACHE_ATTENTION_COPIED_64_F16);
variants!(F16_96, f16:
    kcache_attention_96_f16 KCACHE_ATTENTION_96_F16,
    kcache_attention_copied_96_f16 KCACHE_ATTENTION_COPIED_96_F16);
variants!(F16_128, f16:
    kcache_attention_128_f16 KCACHE_ATTENTION_128_F16,
    kcache_attention_copied_128_f16 KCACHE_ATTENTION_COPIED_128_F16);
variants!(F16_256, f16:
    kcache_attention_256_f16 KCACHE_ATTENTION_256_F16,
    kcache_attention_copied_256_f16 KCACHE_ATTENTION_COPIED_256_F16);

/// Those of the variants that the device has.
pub fn available<T>(variants: Variants<T>) -> impl Iterator<Item = Variant<T>> {
    let fitting = |variant: &Variant<T>| has_wgmma() || !variant.hopper;
    variants.into_iter().filter(fitting)
}

/// Runs a step twice on the same counters and compares.
fn check<T: Float16>(variants: Variants<T>, setup: Setup, seed: u64) {
    for variant in available(variants) {
        let mut step = Step::<T>::new(setup.clone(), seed);
        for launch in 0..2 {
            let outcome = step.launch(variant, seed + launch);
            let name = variant.kernel.name;
            assert!(outcome.is_ok(), "{name}: {outcome:?}: {:?}", step.setup);
            step.compare();
        }
    }
}

#[test]
fn lengths_around_blocks_and_splits() {
    let lengths = [1, 2, 7, 8, 63, 64, 65, 200, 256, 257, 1100];
    for (seed, length) in (300..).zip(lengths) {
        check(BF16_64, Setup::new(64, length), seed);
        check(BF16_128, Setup::new(128, length), seed);
    }
}

#[test]
fn head_sizes_and_types() {
    let setup = |dim| Setup {
        q_heads: 4,
        kv_heads: 2,
        lengths: vec![150, 40],
        split: 128,
        ..Setup::new(dim, 0)
    };
    check(BF16_96, setup(96), 330);
    check(BF16_256, setup(256), 331);
    check(F16_64, setup(64), 332);
    check(F16_96, setup(96), 333);
    check(F16_128, setup(128), 334);
    check(F16_256, setup(256), 335);
}

#[test]
fn groups_agree_on_rows() {
    for (seed, group) in (340..).zip([1, 2, 3, 4, 7, 8]) {
        for group_score in [GroupScore::Sum, GroupScore::Max] {
            let setup = Setup {
                q_heads: 2 * group,
                kv_heads: 2,
                lengths: vec![700],
                group_score,
                ..Setup::new(64, 0)
            };
            check(BF16_64, setup, seed);
        }
    }
}

#[test]
fn from_one_row_to_all() {
    for (seed, top) in (360..).zip([0, 1, 2, 16, 60, 255, 289, 292, 293, 294, 1000]) {
        for q_heads in [1, 2] {
            let setup = Setup {
                q_heads,
                top,
                ..Setup::new(64, 300)
            };
            check(BF16_64, setup, seed);
        }
    }
}

#[test]
fn of_equal_rows_the_first_are_selected() {
    for (seed, distinct) in (380..).zip([1, 2, 5, 40]) {
        for (q_heads, candidates) in [(1, 512), (3, 512), (1, 30), (3, 30)] {
            let setup = Setup {
                q_heads,
                distinct,
                candidates,
                ..Setup::new(64, 500)
            };
            check(BF16_64, setup, seed);
        }
    }
}

#[test]
fn weightings_of_what_is_left_out() {
    for weighting in [Weighting::Raw, Weighting::Renormalised, Weighting::MeanV] {
        let setup = Setup {
            q_heads: 4,
            kv_heads: 2,
            weighting,
            ..Setup::new(64, 260)
        };
        check(BF16_64, setup, 390);
    }
}

#[test]
fn without_sinks_or_window() {
    for (sinks, window) in [(0, 0), (4, 0), (0, 64), (64, 64), (300, 7), (7, 300)] {
        let setup = Setup {
            sinks,
            window,
            ..Setup::new(64, 280)
        };
        check(BF16_64, setup, 400);
    }
}

/// Room for few candidates forces each way of selection: maxima of several blocks taken together,
/// too many runs, too many candidates, no room at all.
#[test]
fn selection_with_little_room() {
    for candidates in [0, 1, 8, 20, 21, 24, 32, 40, 64, 100] {
        for (top, q_heads) in [(1, 1), (20, 1), (20, 2)] {
            let setup = Setup {
                top,
                q_heads,
                candidates,
                ..Setup::new(64, 3000)
            };
            check(BF16_64, setup, 410);
        }
    }
}

#[test]
fn splits_of_any_number_of_blocks() {
    for split in [64, 192, 320, 1024] {
        let setup = Setup {
            split,
            lengths: vec![1000, 330, 0, 64],
            ..Setup::new(64, 0)
        };
        check(BF16_64, setup, 420);
    }
}

#[test]
fn batches_of_rows() {
    // More rows than are prepared at once, and a ring of tiles that is not full.
    for (top, window) in [(600, 5), (251, 3), (3, 3)] {
        let setup = Setup {
            top,
            window,
            ..Setup::new(128, 800)
        };
        check(BF16_128, setup, 430);
    }
}

#[test]
fn fewest_rows_that_hold_a_probability() {
    for (seed, p) in (440..).zip([0.001, 0.3, 0.6, 0.9, 0.99]) {
        for (q_heads, top, distinct) in [(1, 40, usize::MAX), (3, 40, usize::MAX), (2, 200, 9)] {
            let setup = Setup {
                q_heads,
                top,
                p,
                distinct,
                slots: 16,
                ..Setup::new(64, 400)
            };
            check(BF16_64, setup, seed);
        }
    }
}
