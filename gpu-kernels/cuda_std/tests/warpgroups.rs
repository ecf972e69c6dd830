//! Rings of copies and products of warpgroups: what they compute, and what the emulation says of
//! those that are wrong.

#![allow(missing_docs, clippy::unwrap_used)]

use cuda_std::emulation::{FindingKind, Findings, Gpu, LaunchConfig, TensorLayout};
use cuda_std::mbarrier::{self, Barrier};
use cuda_std::{
    Float16, GlobalMut, Kernel, Shared, TensorMap, bf16, bulk_copy, f16, shared_array,
    swizzled_shared, thread, warp, wgmma,
};

/// A warpgroup that multiplies, and a warp that copies.
const THREADS: u32 = wgmma::THREADS + warp::SIZE;

const ANY: Kernel = Kernel {
    name: "ring",
    max_threads: THREADS,
    min_blocks: 1,
    parameters: &[],
    call: |_| {},
};

const STAGES: u32 = 2;
const ROUNDS: u32 = 5;
const K: u32 = ROUNDS * 64;
const COLUMNS: u32 = 128;
const A_BYTES: u32 = 64 * 128;
const STAGE_BYTES: u32 = A_BYTES + COLUMNS * 128;

/// What a ring does wrong.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// The barriers are not fenced.
    Unfenced,
    /// Products do not wait for the copies.
    Hasty,
    /// Copies do not wait for the products.
    Overwriting,
    /// Products do not tell that they have ended.
    Silent,
    /// Every lane tells it, and phases end too early.
    Loud,
    /// Fewer bytes are announced than copied.
    Frugal,
    /// One more box is copied than used.
    Wasteful,
}

fn barriers(stage: u32) -> [Barrier; 2] {
    let start = STAGES * STAGE_BYTES + 16 * stage;
    [0, 8].map(|offset| Barrier::at(swizzled_shared(start + offset)))
}

fn boxes(stage: u32) -> [Shared<f16>; 2] {
    let start = stage * STAGE_BYTES;
    [swizzled_shared(start), swizzled_shared(start + A_BYTES)]
}

fn produce(a: TensorMap, b: TensorMap, fault: Fault) {
    let rounds = ROUNDS + u32::from(fault == Fault::Wasteful);
    for round in 0..rounds {
        let (stage, parity) = (round % STAGES, round / STAGES % 2);
        let [filled, used] = barriers(stage);
        let [a_box, b_box] = boxes(stage);
        if fault != Fault::Overwriting {
            used.wait(parity ^ 1);
        }
        filled.arrive_expecting(STAGE_BYTES - 16 * u32::from(fault == Fault::Frugal));
        a.copy(a_box, [64 * round, 0], filled);
        b.copy(b_box, [64 * round, 0], filled);
    }
}

fn consume(out: GlobalMut<f32>, fault: Fault) {
    let mut sums = [0.0; COLUMNS as usize / 2];
    for round in 0..ROUNDS {
        let (stage, parity) = (round % STAGES, round / STAGES % 2);
        let [filled, used] = barriers(stage);
        let [a_box, b_box] = boxes(stage).map(wgmma::Tile::new);
        if fault != Fault::Hasty {
            filled.wait(parity);
        }
        wgmma::multiply::<f16, _>(&mut sums, a_box, b_box);
        let tells = fault == Fault::Loud || warp::lane_id() == 0;
        if fault != Fault::Silent && tells {
            used.arrive();
        }
    }
    let (lane, warp) = (warp::lane_id(), warp::warp_id());
    for (index, sum) in sums.into_iter().enumerate() {
        let index = index as u32;
        let row = 16 * warp + lane / 4 + index / 2 % 2 * 8;
        let column = index / 4 * 8 + lane % 4 * 2 + index % 2;
        out.write((row * COLUMNS + column) as usize, sum);
    }
}

fn ring(out: GlobalMut<f32>, a: TensorMap, b: TensorMap, fault: Fault) {
    if thread::thread_idx_x() == 0 {
        for stage in 0..STAGES {
            let [filled, used] = barriers(stage);
            filled.init(1);
            used.init(wgmma::THREADS / warp::SIZE);
        }
        if fault != Fault::Unfenced {
            mbarrier::fence_initialised();
        }
    }
    thread::sync_threads();
    if thread::thread_idx_x() >= wgmma::THREADS {
        if warp::lane_id() == 0 {
            produce(a, b, fault);
        }
    } else {
        consume(out, fault);
    }
}

/// Small whole numbers, whose products are exact.
fn numbers(count: u32, seed: u32) -> Vec<f16> {
    let number = |i| f16::from_f32(((i * 7 + seed) % 11) as f32 - 5.0);
    (0..count).map(number).collect()
}

/// Runs a ring, and gives what it wrote.
fn run(fault: Fault, seed: u64) -> Result<Vec<f32>, Findings> {
    let mut gpu = Gpu::new();
    let a = gpu.upload("a", &numbers(64 * K, 1));
    let b = gpu.upload("b", &numbers(COLUMNS * K, 4));
    let out = gpu.allocate::<f32>("out", 64 * COLUMNS as usize);
    let target = out.global_mut();
    let a = gpu.tensor_map(a, [64, K as usize], 64).unwrap();
    let b = gpu
        .tensor_map(b, [COLUMNS as usize, K as usize], COLUMNS)
        .unwrap();
    let config = LaunchConfig::new([1, 1, 1], THREADS)
        .dynamic_shared(STAGES * (STAGE_BYTES + 16))
        .seed(seed);
    gpu.launch(&ANY, config, move || ring(target, a, b, fault))?;
    Ok(gpu.download(out))
}

#[test]
fn a_ring_multiplies_in_any_order_of_its_threads() {
    let (a, b) = (numbers(64 * K, 1), numbers(COLUMNS * K, 4));
    let want: Vec<f32> = a
        .chunks(K as usize)
        .flat_map(|row| {
            let columns = b.chunks(K as usize);
            columns.map(move |column| {
                let products = row.iter().zip(column);
                products.map(|(x, y)| x.to_f32() * y.to_f32()).sum()
            })
        })
        .collect();
    for seed in [0, 1, 2] {
        assert_eq!(run(Fault::None, seed).unwrap(), want, "seed {seed}");
    }
}

#[test]
fn a_wrong_ring_is_found() {
    let wrong = [
        (Fault::Unfenced, FindingKind::Barrier),
        (Fault::Hasty, FindingKind::CopyInFlight),
        (Fault::Overwriting, FindingKind::CopyInFlight),
        (Fault::Silent, FindingKind::Deadlock),
        (Fault::Loud, FindingKind::Deadlock),
        (Fault::Frugal, FindingKind::Deadlock),
        (Fault::Wasteful, FindingKind::CopyInFlight),
    ];
    for (fault, kind) in wrong {
        let findings = run(fault, 0).unwrap_err();
        assert!(findings.contains(kind), "{kind:?} expected: {findings}");
    }
}

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
