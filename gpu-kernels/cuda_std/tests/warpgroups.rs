//! Copies that no thread makes, and products of a warpgroup of what threads wrote.

#![allow(missing_docs, clippy::unwrap_used)]

use cuda_std::emulation::{FindingKind, Gpu, LaunchConfig, TensorLayout};
use cuda_std::mbarrier::{self, Barrier};
use cuda_std::{
    Float16, GlobalMut, Kernel, bf16, bulk_copy, f16, shared_array, swizzled_shared, thread, warp,
    wgmma,
};

const ANY: Kernel = Kernel {
    name: "any",
    max_threads: wgmma::THREADS,
    min_blocks: 1,
    parameters: &[],
    call: |_| {},
};

#[test]
fn a_box_is_swizzled_and_padded_with_zeros() {
    const ROWS: u32 = 9;
    let (rows, columns) = (7usize, 72usize);
    let values: Vec<u16> = (0..(rows * columns) as u16).collect();
    let matrix: Vec<bf16> = values.iter().map(|&bits| bf16(bits)).collect();
    let mut gpu = Gpu::new();
    let source = gpu.upload("matrix", &matrix);
    let out = gpu.allocate::<bf16>("out", 64 * ROWS as usize);
    let (map, target) = (
        gpu.tensor_map(source, [rows, columns], ROWS).unwrap(),
        out.global_mut(),
    );
    let config = LaunchConfig::new([1, 1, 1], 32).dynamic_shared(ROWS * 128);
    let (first_column, first_row) = (24, 3);
    gpu.launch(&ANY, config, move || {
        let barrier = Barrier::at(shared_array![u64; 1]);
        let place = swizzled_shared::<bf16>(0);
        if warp::lane_id() == 0 {
            barrier.init(1);
            mbarrier::fence_initialised();
            barrier.arrive_expecting(ROWS * 128);
            map.copy(place, [first_column, first_row], barrier);
        }
        thread::sync_threads();
        barrier.wait(0);
        let mut i = warp::lane_id();
        while i < 64 * ROWS {
            let (row, column) = (i / 64, i % 64);
            let swizzled = ((column / 8) ^ (row % 8)) * 8 + column % 8;
            target.write(i as usize, place.read(row * 64 + swizzled));
            i += 32;
        }
    })
    .unwrap();
    for (i, value) in gpu.download(out).into_iter().enumerate() {
        let (row, column) = (i / 64 + 3, i % 64 + 24);
        let inside = row < rows && column < columns;
        let want = if inside {
            values[row * columns + column]
        } else {
            0
        };
        assert_eq!(value.0, want, "row {row} column {column}");
    }
}

#[test]
fn contiguous_copies_arrive_whole() {
    let values: Vec<f32> = (0..64).map(|i| i as f32).collect();
    let mut gpu = Gpu::new();
    let source = gpu.upload("source", &values).global();
    let out = gpu.allocate::<f32>("out", 64);
    let target = out.global_mut();
    gpu.launch(&ANY, LaunchConfig::new([1, 1, 1], 64), move || {
        let barrier = Barrier::at(shared_array![u64; 1]);
        let place = shared_array![f32; 64];
        let i = thread::thread_idx_x();
        if i == 0 {
            barrier.init(1);
            mbarrier::fence_initialised();
        }
        thread::sync_threads();
        if i == 0 {
            barrier.arrive_expecting(256);
            bulk_copy::copy(place, source, 256, barrier);
        }
        barrier.wait(0);
        target.write(i as usize, place.read(i));
    })
    .unwrap();
    assert_eq!(gpu.download(out), values);
}

#[test]
fn layouts_that_no_driver_takes_are_refused() {
    let sound = TensorLayout {
        address: 1 << 20,
        rows: 4,
        columns: 64,
        row_bytes: 128,
        box_rows: 64,
    };
    assert!(sound.encode().is_ok());
    let address = sound.address + 8;
    assert!(TensorLayout { address, ..sound }.encode().is_err());
    let row_bytes = 120;
    assert!(TensorLayout { row_bytes, ..sound }.encode().is_err());
    let box_rows = 257;
    assert!(TensorLayout { box_rows, ..sound }.encode().is_err());
}

/// Sixty-four columns of a small matrix, and the product with the transposed tile: A comes from
/// registers, B from what the threads wrote themselves.
fn multiply_written(out: GlobalMut<f32>, fenced: bool) {
    let tile = swizzled_shared::<f16>(0);
    let thread = thread::thread_idx_x();
    if thread < 64 {
        for column in 0..64 {
            let value = f16::from_f32(((thread * 3 + column) % 7) as f32);
            let swizzled = ((column / 8) ^ (thread % 8)) * 8 + column % 8;
            tile.write(thread * 64 + swizzled, value);
        }
    }
    if fenced {
        wgmma::fence_shared();
    }
    thread::sync_threads();
    let (group, pair) = (warp::lane_id() / 4, warp::lane_id() % 4);
    let first = 16 * warp::warp_id() + group;
    let a: wgmma::RegisterTile = std::array::from_fn(|step| {
        std::array::from_fn(|word| {
            let row = first + word as u32 % 2 * 8;
            let column = 16 * step as u32 + 2 * pair + word as u32 / 2 * 8;
            let value = |column| ((row + 2 * column) % 5) as f32;
            f16::pack(value(column), value(column + 1))
        })
    });
    let mut sums = [0.0; 32];
    wgmma::multiply_registers::<f16, _>(&mut sums, &a, wgmma::Tile::transposed(tile, 0));
    for (index, sum) in sums.into_iter().enumerate() {
        let index = index as u32;
        let row = first + index / 2 % 2 * 8;
        let column = index / 4 * 8 + 2 * pair + index % 2;
        out.write((row * 64 + column) as usize, sum);
    }
}

#[test]
fn registers_are_multiplied_with_what_threads_wrote_and_fenced() {
    let run = |fenced| {
        let mut gpu = Gpu::new();
        let out = gpu.allocate::<f32>("out", 64 * 64);
        let target = out.global_mut();
        let config = LaunchConfig::new([1, 1, 1], wgmma::THREADS).dynamic_shared(64 * 128);
        gpu.launch(&ANY, config, move || multiply_written(target, fenced))
            .map(|()| gpu.download(out))
    };
    for (i, sum) in run(true).unwrap().into_iter().enumerate() {
        let (row, column) = (i / 64, i % 64);
        let want: usize = (0..64)
            .map(|k| (row + 2 * k) % 5 * ((k * 3 + column) % 7))
            .sum();
        assert_eq!(sum, want as f32, "row {row} column {column}");
    }
    let findings = run(false).unwrap_err();
    assert!(findings.contains(FindingKind::Race), "{findings}");
    assert!(
        findings.to_string().contains("without a fence"),
        "{findings}"
    );
}
