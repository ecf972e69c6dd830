//! Every kernel here is wrong, and the emulation must say so.

#![allow(missing_docs, clippy::expect_used)]

use cuda_std::emulation::{FindingKind, Findings, Gpu, LaunchConfig};
use cuda_std::{Global, GlobalMut, Shared, async_copy, kernel, mma, shared_array, thread, warp};

const THREADS: u32 = 64;

/// Runs one block of a kernel that takes an output and an input of `THREADS` floats.
fn run(kernel: fn(GlobalMut<f32>, Global<f32>)) -> Result<(), Findings> {
    const ANY: cuda_std::Kernel = cuda_std::Kernel {
        name: "planted",
        max_threads: THREADS,
        min_blocks: 1,
        parameters: &[],
        call: |_| {},
    };
    let mut gpu = Gpu::new();
    let input = gpu.upload("input", &[1.0f32; THREADS as usize]);
    let output = gpu.allocate::<f32>("output", THREADS as usize);
    let (output, input) = (output.global_mut(), input.global());
    gpu.launch(&ANY, LaunchConfig::new([1, 1, 1], THREADS), move || {
        kernel(output, input)
    })
}

/// The faults of a kernel, which must all be of one kind.
#[track_caller]
fn faults(kernel: fn(GlobalMut<f32>, Global<f32>), kind: FindingKind) -> String {
    let findings = run(kernel).expect_err("the fault was not found");
    assert!(findings.list.iter().all(|f| f.kind == kind), "{findings}");
    findings.to_string()
}

#[kernel(max_threads = THREADS)]
fn sound(output: GlobalMut<f32>, input: Global<f32>) {
    let array = shared_array![f32; THREADS];
    let i = thread::thread_idx_x();
    array.write(i, input.read(i as usize));
    thread::sync_threads();
    let sum = warp::warp_sum(array.read(THREADS - 1 - i));
    thread::sync_threads();
    array.write(THREADS - 1 - i, sum);
    warp::sync_warp(warp::ALL);
    output.write(i as usize, array.read((THREADS - 1 - i) ^ 1));
}

#[test]
fn a_sound_kernel_passes() {
    run(sound).unwrap();
    assert_eq!(SOUND.name, "sound");
    assert_eq!((SOUND.max_threads, SOUND.min_blocks), (THREADS, 1));
}

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
    assert!(text.contains("planted_faults.rs"), "{text}");
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

fn one_past_the_end(output: GlobalMut<f32>, input: Global<f32>) {
    let i = thread::thread_idx_x() as usize;
    output.write(i, input.read(i + 1));
}

#[test]
fn an_index_past_the_end_is_found() {
    let text = faults(one_past_the_end, FindingKind::OutOfBounds);
    assert!(
        text.contains("at byte 256 of input, which has 256"),
        "{text}"
    );
    assert!(text.contains("block (0, 0, 0) thread 63"), "{text}");
}

fn before_the_start(output: GlobalMut<f32>, _: Global<f32>) {
    let i = thread::thread_idx_x() as usize;
    output.write(i.wrapping_sub(1), 0.0);
}

#[test]
fn an_index_before_the_start_is_found() {
    let text = faults(before_the_start, FindingKind::OutOfBounds);
    assert!(text.contains("at byte -4 of output"), "{text}");
}

fn prefetch_past_the_end(output: GlobalMut<f32>, input: Global<f32>) {
    let i = thread::thread_idx_x() as usize;
    input.offset(i + 1).prefetch();
    output.write(i, input.read(i));
}

#[test]
fn a_prefetch_past_the_end_is_found() {
    let text = faults(prefetch_past_the_end, FindingKind::OutOfBounds);
    let place = "Prefetch at byte 256 of input, which has 256";
    assert!(text.contains(place), "{text}");
}

fn prefetch_of_nothing(output: GlobalMut<f32>, _: Global<f32>) {
    Global::<f32>::from_address(0).prefetch();
    output.write(thread::thread_idx_x() as usize, 0.0);
}

#[test]
fn a_prefetch_of_no_buffer_is_found() {
    faults(prefetch_of_nothing, FindingKind::OutOfBounds);
}

fn shared_past_the_end(output: GlobalMut<f32>, input: Global<f32>) {
    let array = shared_array![f32; 63];
    let i = thread::thread_idx_x();
    array.write(i, input.read(i as usize));
    output.write(i as usize, 0.0);
}

#[test]
fn shared_arrays_have_bounds() {
    faults(shared_past_the_end, FindingKind::OutOfBounds);
}

fn no_buffer(output: GlobalMut<f32>, _: Global<f32>) {
    let i = thread::thread_idx_x() as usize;
    output.write(i, Global::<f32>::from_address(0).read(i));
}

#[test]
fn a_null_address_is_found() {
    faults(no_buffer, FindingKind::OutOfBounds);
}

fn misaligned(output: GlobalMut<f32>, input: Global<f32>) {
    let words = input.offset(1).cast::<cuda_std::U32x4>().read(0);
    output.write(thread::thread_idx_x() as usize, f32::from_bits(words.0[0]));
}

#[test]
fn a_wide_access_must_be_aligned() {
    faults(misaligned, FindingKind::Misaligned);
}

fn unwritten_shared(output: GlobalMut<f32>, _: Global<f32>) {
    let array = shared_array![f32; THREADS];
    let i = thread::thread_idx_x();
    if i != 7 {
        array.write(i, 1.0);
    }
    thread::sync_threads();
    output.write(i as usize, array.read(i));
}

fn unwritten_global(output: GlobalMut<f32>, _: Global<f32>) {
    let i = thread::thread_idx_x() as usize;
    output.write(i, output.read(i));
}

#[test]
fn unwritten_memory_is_found() {
    let text = faults(unwritten_shared, FindingKind::Uninitialised);
    assert!(text.contains("at byte 28 of the shared array"), "{text}");
    let text = faults(unwritten_global, FindingKind::Uninitialised);
    assert!(text.contains("of output"), "{text}");
}

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

fn lane_without_matrix_row(output: GlobalMut<f32>, _: Global<f32>) {
    let array = shared_array![f32; 4];
    let i = thread::thread_idx_x();
    if i == 0 {
        (0..4).for_each(|k| array.write(k, 0.0));
    }
    thread::sync_threads();
    let words = mma::load_matrix_x4(array.offset(i % 2));
    output.write(i as usize, f32::from_bits(words[0]));
}

#[test]
fn matrix_rows_are_checked() {
    faults(lane_without_matrix_row, FindingKind::Misaligned);
}

fn local_index(output: GlobalMut<f32>, input: Global<f32>) {
    let i = thread::thread_idx_x() as usize;
    let local = [input.read(i); 8];
    output.write(i, local[i / 7]);
}

#[test]
fn a_panic_is_a_finding() {
    let text = faults(local_index, FindingKind::Panic);
    assert!(text.contains("index out of bounds"), "{text}");
}

#[test]
fn a_launch_must_fit_the_kernel() {
    let mut gpu = Gpu::new();
    for config in [
        LaunchConfig::new([1, 1, 1], THREADS + 1),
        LaunchConfig::new([0, 1, 1], THREADS),
        LaunchConfig::new([1, 70_000, 1], THREADS),
        LaunchConfig::new([1, 1, 1], THREADS).dynamic_shared(1 << 20),
    ] {
        let findings = gpu.launch(&SOUND, config, || ()).expect_err("not found");
        assert!(findings.contains(FindingKind::Launch), "{findings}");
    }
}
