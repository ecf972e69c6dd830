//! Accesses to what is not there, or not aligned, or not written.

use cuda_std::emulation::FindingKind;
use cuda_std::{Global, GlobalMut, mma, shared_array, thread};

use super::{THREADS, faults};

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
