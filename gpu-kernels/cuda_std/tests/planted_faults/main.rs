//! Every kernel here is wrong, and the emulation must say so.

#![allow(missing_docs, clippy::expect_used)]

mod memory;
mod races;
mod together;

use cuda_std::emulation::{FindingKind, Findings, Gpu, LaunchConfig};
use cuda_std::{Global, GlobalMut, kernel, shared_array, thread, warp};

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
