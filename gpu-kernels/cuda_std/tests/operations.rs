//! What the operations compute, each against its definition.

#![allow(missing_docs, clippy::unwrap_used)]

use cuda_std::emulation::{Buffer, Gpu, LaunchConfig};
use cuda_std::{
    Element, Float16, GlobalMut, Kernel, U32x4, async_copy, bf16, dynamic_shared, f16, mma,
    shared_array, thread, warp,
};

const ANY: Kernel = Kernel {
    name: "operation",
    max_threads: 1024,
    min_blocks: 1,
    parameters: &[],
    call: |_| {},
};

/// Runs a warp whose lane `i` calls `lane(i)`, and gives what each lane returned.
fn warp_of<T: Element>(lane: fn(u32) -> T) -> Vec<T> {
    let mut gpu = Gpu::new();
    let output = gpu.allocate::<T>("output", 32);
    let target = output.global_mut();
    gpu.launch(&ANY, LaunchConfig::new([1, 1, 1], 32), move || {
        let i = thread::thread_idx_x();
        target.write(i as usize, lane(i));
    })
    .unwrap();
    gpu.download(output)
}

#[test]
fn shuffles_move_values_between_lanes() {
    let xor = warp_of(|i| warp::warp_shuffle_xor(warp::ALL, i, 5));
    let down = warp_of(|i| warp::warp_shuffle_down(warp::ALL, i, 3));
    let up = warp_of(|i| warp::warp_shuffle_up(warp::ALL, i, 3));
    let one = warp_of(|i| warp::warp_shuffle_idx(warp::ALL, i as f32, 9));
    for i in 0..32u32 {
        let lane = i as usize;
        assert_eq!(xor[lane], i ^ 5);
        assert_eq!(down[lane], if i + 3 < 32 { i + 3 } else { i });
        assert_eq!(up[lane], i.checked_sub(3).unwrap_or(i));
        assert_eq!(one[lane], 9.0);
    }
}

#[test]
fn votes_and_reductions_see_every_lane() {
    assert_eq!(
        warp_of(|i| warp::warp_vote_ballot(warp::ALL, i % 3 == 0)),
        [0x4924_9249; 32]
    );
    assert_eq!(
        warp_of(|i| u32::from(warp::warp_vote_any(warp::ALL, i == 31))),
        [1; 32]
    );
    assert_eq!(
        warp_of(|i| u32::from(warp::warp_vote_all(warp::ALL, i < 31))),
        [0; 32]
    );
    assert_eq!(warp_of(|i| warp::warp_sum(i as f32)), [496.0; 32]);
    assert_eq!(warp_of(|i| warp::warp_max(-(i as f32))), [0.0; 32]);
}

#[test]
fn the_threads_of_a_grid_have_their_indices() {
    let mut gpu = Gpu::new();
    let output = gpu.allocate::<u32>("output", 24 * 24);
    let target = output.global_mut();
    let config = LaunchConfig {
        grid: [2, 3, 4],
        block: [4, 3, 2],
        dynamic_shared: 0,
        seed: 9,
    };
    gpu.launch(&ANY, config, move || {
        let block = thread::block_idx_x() + 2 * (thread::block_idx_y() + 3 * thread::block_idx_z());
        let thread =
            thread::thread_idx_x() + 4 * (thread::thread_idx_y() + 3 * thread::thread_idx_z());
        let threads = thread::block_dim_x() * thread::block_dim_y() * thread::block_dim_z();
        let blocks = thread::grid_dim_x() * thread::grid_dim_y() * thread::grid_dim_z();
        target.write((block * threads + thread) as usize, blocks);
    })
    .unwrap();
    assert_eq!(gpu.download(output), [24; 24 * 24]);
}

#[test]
fn atomics_give_the_old_value() {
    let mut gpu = Gpu::new();
    let words = gpu.upload("words", &[0u32, 0, 7]);
    let sum = gpu.upload("sum", &[0.0f32]);
    let wide = gpu.upload("wide", &[u64::from(u32::MAX)]);
    let total = wide.global_mut();
    let old = gpu.allocate::<u32>("old", 64);
    let (w, s, o) = (words.global_mut(), sum.global_mut(), old.global_mut());
    gpu.launch(&ANY, LaunchConfig::new([2, 1, 1], 32).seed(3), move || {
        let i = thread::index_1d();
        o.write(i as usize, w.atomic_add(0, 1));
        w.atomic_max(1, i);
        w.atomic_cas(2, 7, i + 100);
        s.atomic_add(0, 0.5);
        total.atomic_add(0, 1);
    })
    .unwrap();
    let words = gpu.download(words);
    assert_eq!(words[..2], [64, 63]);
    assert!((100..164).contains(&words[2]));
    assert_eq!(gpu.download(sum), [32.0]);
    assert_eq!(gpu.download(wide), [u64::from(u32::MAX) + 64]);
    let mut old = gpu.download(old);
    old.sort_unstable();
    assert!(old.iter().copied().eq(0..64));
}

#[test]
fn asynchronous_copies_fill_with_zero() {
    let mut gpu = Gpu::new();
    let input = gpu.upload("input", &[1u32, 2, 3, 4, 5, 6]).global();
    let output = gpu.allocate::<U32x4>("output", 2);
    let target = output.global_mut();
    gpu.launch(
        &ANY,
        LaunchConfig::new([1, 1, 1], 1).dynamic_shared(48),
        move || {
            let shared = dynamic_shared::<u32>(16);
            async_copy::copy_16(shared, input, 16);
            async_copy::commit();
            async_copy::copy_16(shared.offset(4), input.offset(4), 8);
            async_copy::commit();
            async_copy::wait::<1>();
            target.write(0, shared.cast::<U32x4>().read(0));
            async_copy::wait::<0>();
            target.write(1, shared.cast::<U32x4>().read(1));
        },
    )
    .unwrap();
    assert_eq!(
        gpu.download(output),
        [U32x4([1, 2, 3, 4]), U32x4([5, 6, 0, 0])]
    );
}

/// A small number for an element of a matrix, exact in both 16-bit floats.
fn entry(row: u32, column: u32) -> f32 {
    ((row * 7 + column * 3) % 11) as f32 - 5.0
}

/// Multiplies a 16×16 by a 16×8 matrix; `B` is stored column by column, so each 8×8 tile of it is
/// loaded as it lies.
fn multiply<T: Float16>(output: GlobalMut<f32>) {
    let (a, b) = (shared_array![T; 256], shared_array![T; 128]);
    let lane = thread::thread_idx_x();
    for i in (lane..256).step_by(32) {
        a.write(i, T::from_f32(entry(i / 16, i % 16)));
    }
    for i in (lane..128).step_by(32) {
        b.write(i, T::from_f32(entry(i % 16, i / 16 + 2)));
    }
    thread::sync_threads();
    let (row, half) = (lane % 16, lane / 16);
    let a = mma::load_matrix_x4(a.offset(row * 16 + half * 8));
    // Lanes 16 to 31 repeat the rows of the others: tiles 2 and 3 are not used.
    let b = mma::load_matrix_x4(b.offset(lane % 8 * 16 + lane / 8 % 2 * 8));
    let mut d = [1.0; 4];
    T::mma_m16n8k16(&mut d, a, [b[0], b[1]]);
    for (i, value) in (0..4).zip(d) {
        let (row, column) = (lane / 4 + i / 2 * 8, lane % 4 * 2 + i % 2);
        output.write((row * 8 + column) as usize, value);
    }
}

#[test]
fn tensor_cores_multiply() {
    for kernel in [multiply::<bf16>, multiply::<f16>] {
        let mut gpu = Gpu::new();
        let output: Buffer<f32> = gpu.allocate("output", 128);
        let target = output.global_mut();
        gpu.launch(&ANY, LaunchConfig::new([1, 1, 1], 32), move || {
            kernel(target)
        })
        .unwrap();
        for (i, value) in (0..).zip(gpu.download(output)) {
            let (row, column) = (i / 8, i % 8);
            let product: f32 = (0..16).map(|k| entry(row, k) * entry(k, column + 2)).sum();
            assert_eq!(value, 1.0 + product, "row {row} column {column}");
        }
    }
}

#[test]
fn transposed_tiles_swap_rows_and_columns() {
    let words = warp_of(|lane| {
        let tile = shared_array![u16; 64];
        tile.write(2 * lane, (2 * lane) as u16);
        tile.write(2 * lane + 1, (2 * lane + 1) as u16);
        warp::sync_warp(warp::ALL);
        mma::load_matrix_x4_transposed(tile.offset(lane % 8 * 8))[0]
    });
    for (lane, word) in (0..).zip(words) {
        let (column, row) = (lane / 4, lane % 4 * 2);
        assert_eq!(
            (word & 0xffff, word >> 16),
            (row * 8 + column, (row + 1) * 8 + column)
        );
    }
}

#[test]
fn sixteen_bit_floats_round_to_nearest_even() {
    assert_eq!(bf16::from_f32(1.0 + 1.0 / 256.0).to_f32(), 1.0);
    assert_eq!(
        bf16::from_f32(1.0 + 3.0 / 256.0).to_f32(),
        1.0 + 4.0 / 256.0
    );
    assert_eq!(f16::from_f32(1.0 + 1.0 / 2048.0).to_f32(), 1.0);
    assert_eq!(f16::from_f32(70000.0).to_f32(), f32::INFINITY);
    assert!(bf16::from_f32(f32::NAN).to_f32().is_nan());
    assert_eq!(bf16::unpack(bf16::pack(1.5, -2.0)), [1.5, -2.0]);
    assert_eq!(f16::unpack(f16::pack(1.5, -2.0)), [1.5, -2.0]);
}
