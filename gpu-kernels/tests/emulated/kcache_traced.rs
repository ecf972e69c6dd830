//! The traced kernels: the results of the others, and marks in order.

use cuda_std::bf16;
use cuda_std::emulation::Argument;
use gpu_kernels::kcache_attention::{self as fused, MARKS, Mark};

use crate::device::has_wgmma;
use crate::kcache::BF16_64;
use crate::kcache_setup::Setup;
use crate::kcache_step::Step;

#[test]
fn a_traced_kernel_does_the_same_and_says_when() {
    let traced = [
        &fused::KCACHE_ATTENTION_TRACED_64_BF16,
        &fused::KCACHE_ATTENTION_COPIED_TRACED_64_BF16,
    ];
    for (variant, traced) in BF16_64.into_iter().zip(traced) {
        if variant.hopper && !has_wgmma() {
            continue;
        }
        let setup = Setup {
            q_heads: 4,
            kv_heads: 2,
            lengths: vec![600, 0, 200],
            slots: 8,
            ..Setup::new(64, 0)
        };
        let mut step = Step::<bf16>::new(setup.clone(), 470);
        step.launch(variant, 1).unwrap();
        let expected = step.gpu.download(step.out);

        let mut step = Step::<bf16>::new(setup, 470);
        let (splits, kv_heads, sequences) = (3, 2, 3);
        let marks = vec![0u64; splits * kv_heads * sequences * MARKS];
        let marks = step.gpu.upload("marks", &marks);
        let more = marks.global_mut().to_bytes();
        step.launch_with(traced, variant, 2, more).unwrap();
        assert_eq!(bits(&step.gpu.download(step.out)), bits(&expected));
        let marks = step.gpu.download(marks);
        let mut last_of_pair = vec![0; kv_heads * sequences];
        for (block, words) in marks.chunks(MARKS).enumerate() {
            let (part, pair) = (block % splits, block / splits);
            let ran = part * 256 < [600, 0, 200][pair / kv_heads];
            let time = |mark: Mark| words[mark as usize];
            let scan = [time(Mark::Begun), time(Mark::Scanned)];
            assert_eq!(scan.map(|time| time > 0), [ran; 2], "block {block}");
            assert!(scan.is_sorted());
            let rest = [Mark::Selected, Mark::LookedUp, Mark::Done].map(time);
            if rest != [0; 3] {
                assert!(time(Mark::Scanned) <= rest[0] && rest.is_sorted());
                last_of_pair[pair] += 1;
            }
        }
        assert_eq!(
            last_of_pair,
            [1, 1, 0, 0, 1, 1],
            "one block of a pair goes on"
        );
    }
}

fn bits(values: &[bf16]) -> Vec<u16> {
    values.iter().map(|value| value.0).collect()
}
