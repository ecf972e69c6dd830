//! Accesses that nothing orders.

use cuda_std::emulation::{FindingKind, Gpu, LaunchConfig};
use cuda_std::{Global, GlobalMut, Shared, async_copy, shared_array, thread, warp};

use super::{SOUND, THREADS, faults, run};

fn missing_barrier(output: GlobalMut<f32>, input: Global<f32>) {
    let array = shared_array![f32; THREADS];
    let i = thread::thread_idx_x();
    array.write(THREADS - 1 - i, input.read(i as usize));
    thread::sync_threads();
    let other = array.read(i);
    // The next round overwrites what others may still read.
    array.write(THREADS - 1 - i, other + 1.0);
    output.write(i as usize, other);
}

#[test]
fn a_missing_barrier_is_a_race() {
    let text = faults(missing_barrier, FindingKind::Race);
    assert!(text.contains("planted_faults/races.rs"), "{text}");
    assert!(text.contains("after a Read by thread"), "{text}");
}

fn missing_warp_barrier(output: GlobalMut<f32>, input: Global<f32>) {
    let array = shared_array![f32; THREADS];
    let i = thread::thread_idx_x();
    array.write(i, input.read(i as usize));
    // A shuffle makes lanes meet, but orders no memory.
    let sum = warp::warp_sum(1.0);
    output.write(i as usize, sum + array.read(i ^ 1));
}

#[test]
fn a_shuffle_is_no_barrier() {
    faults(missing_warp_barrier, FindingKind::Race);
}

fn warp_barrier_for_a_block(output: GlobalMut<f32>, input: Global<f32>) {
    let array = shared_array![f32; THREADS];
    let i = thread::thread_idx_x();
    array.write(i, input.read(i as usize));
    warp::sync_warp(warp::ALL);
    output.write(i as usize, array.read(i ^ 32));
}

#[test]
fn a_warp_barrier_does_not_order_other_warps() {
    let findings = run(warp_barrier_for_a_block).expect_err("not found");
    // The first warp runs ahead of the second and reads what is not there yet.
    assert!(findings.contains(FindingKind::Race), "{findings}");
    assert!(findings.contains(FindingKind::Uninitialised), "{findings}");
}

fn same_output(output: GlobalMut<f32>, input: Global<f32>) {
    output.write(0, input.read(thread::thread_idx_x() as usize));
}

#[test]
fn writers_of_one_element_race() {
    faults(same_output, FindingKind::Race);
}

#[test]
fn blocks_are_not_ordered() {
    let mut gpu = Gpu::new();
    let sum = gpu.upload("sum", &[0.0f32]).global_mut();
    let config = LaunchConfig::new([2, 1, 1], 1);
    let plain = gpu.launch(&SOUND, config, move || sum.write(0, sum.read(0) + 1.0));
    assert!(plain.expect_err("not found").contains(FindingKind::Race));
    gpu.launch(&SOUND, config, move || {
        sum.atomic_add(0, 1.0);
    })
    .unwrap();
}

fn atomic_beside_plain(output: GlobalMut<f32>, input: Global<f32>) {
    let array = shared_array![f32; 1];
    let i = thread::thread_idx_x();
    if i == 0 {
        array.write(0, 0.0);
    }
    array.atomic_add(0, 1.0);
    output.write(i as usize, input.read(i as usize));
}

#[test]
fn an_atomic_races_with_a_plain_write() {
    faults(atomic_beside_plain, FindingKind::Race);
}

/// Starts a copy of 16 bytes by every fourth thread.
fn start_copy(array: Shared<f32>, input: Global<f32>) {
    let i = thread::thread_idx_x();
    if i.is_multiple_of(4) {
        async_copy::copy_16(array.offset(i), input.offset(i as usize), 16);
    }
    async_copy::commit();
}

fn no_wait(output: GlobalMut<f32>, input: Global<f32>) {
    let array = shared_array![f32; THREADS];
    let i = thread::thread_idx_x();
    start_copy(array, input);
    thread::sync_threads();
    output.write(i as usize, array.read(i));
}

fn wait_without_barrier(output: GlobalMut<f32>, input: Global<f32>) {
    let array = shared_array![f32; THREADS];
    let i = thread::thread_idx_x();
    start_copy(array, input);
    async_copy::wait::<0>();
    output.write(i as usize, array.read(i));
}

fn wait_and_barrier(output: GlobalMut<f32>, input: Global<f32>) {
    let array = shared_array![f32; THREADS];
    let i = thread::thread_idx_x();
    start_copy(array, input);
    async_copy::wait::<0>();
    thread::sync_threads();
    output.write(i as usize, array.read(i));
}

#[test]
fn an_asynchronous_copy_needs_a_wait_and_a_barrier() {
    run(wait_and_barrier).unwrap();
    faults(no_wait, FindingKind::CopyInFlight);
    assert!(
        run(wait_without_barrier)
            .expect_err("not found")
            .contains(FindingKind::Race)
    );
}
