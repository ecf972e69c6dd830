//! Barriers and warp operations that not all reach who must.

use cuda_std::emulation::FindingKind;
use cuda_std::{Global, GlobalMut, thread, warp};

use super::faults;

#[allow(clippy::if_same_then_else, reason = "that is the fault")]
fn diverging(output: GlobalMut<f32>, input: Global<f32>) {
    let i = thread::thread_idx_x();
    if i < 32 {
        thread::sync_threads();
    } else {
        thread::sync_threads();
    }
    output.write(i as usize, input.read(i as usize));
}

fn leaving_early(output: GlobalMut<f32>, input: Global<f32>) {
    let i = thread::thread_idx_x();
    if i < 63 {
        thread::sync_threads();
    }
    output.write(i as usize, input.read(i as usize));
}

#[test]
fn every_thread_must_reach_the_same_barrier() {
    let text = faults(diverging, FindingKind::DivergentBarrier);
    assert!(text.contains("some wait at"), "{text}");
    let text = faults(leaving_early, FindingKind::DivergentBarrier);
    assert!(
        text.contains("1 threads of the block have ended without it"),
        "{text}"
    );
}

fn lane_stays_away(output: GlobalMut<f32>, _: Global<f32>) {
    let i = thread::thread_idx_x();
    if i != 3 {
        output.write(i as usize, warp::warp_sum(1.0));
    }
}

fn barrier_against_shuffle(output: GlobalMut<f32>, _: Global<f32>) {
    let i = thread::thread_idx_x();
    if i.is_multiple_of(2) {
        thread::sync_threads();
    } else {
        output.write(i as usize, warp::warp_sum(1.0));
    }
}

#[test]
fn waiting_for_ever_is_a_deadlock() {
    let text = faults(lane_stays_away, FindingKind::Deadlock);
    assert!(text.contains("with mask 0xffffffff"), "{text}");
    let text = faults(barrier_against_shuffle, FindingKind::Deadlock);
    assert!(text.contains("32 at the block's barrier"), "{text}");
}

fn wrong_mask(output: GlobalMut<f32>, _: Global<f32>) {
    let i = thread::thread_idx_x();
    output.write(i as usize, warp::warp_shuffle_xor(0x0000_ffff, 1.0f32, 1));
}

fn source_outside_the_mask(output: GlobalMut<f32>, _: Global<f32>) {
    let i = thread::thread_idx_x();
    if i % 32 < 16 {
        output.write(i as usize, warp::warp_shuffle_xor(0x0000_ffff, 1.0f32, 16));
    }
}

#[test]
fn masks_must_name_the_lanes() {
    faults(wrong_mask, FindingKind::LaneNotInMask);
    faults(source_outside_the_mask, FindingKind::LaneNotInMask);
}
