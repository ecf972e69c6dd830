//! A ring of copies and products of a warpgroup: what it computes, and what the emulation says of
//! those that are wrong.

#![allow(missing_docs, clippy::unwrap_used)]

use cuda_std::emulation::{FindingKind, Findings, Gpu, LaunchConfig};
use cuda_std::mbarrier::{self, Barrier};
use cuda_std::{
    Float16, GlobalMut, Kernel, Shared, TensorMap, f16, swizzled_shared, thread, warp, wgmma,
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

type Sums = [f32; COLUMNS as usize / 2];

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
    /// Tiles are given back while they are multiplied.
    Generous,
}

/// How the warpgroup multiplies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Products {
    /// One after the other.
    Whole,
    /// Each while the next is waited for.
    Running,
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

fn tell(stage: u32, fault: Fault) {
    let tells = fault == Fault::Loud || warp::lane_id() == 0;
    if fault != Fault::Silent && tells {
        barriers(stage)[1].arrive();
    }
}

/// The stage of a round, filled, and its tiles.
fn tiles(round: u32, fault: Fault) -> (u32, [wgmma::Tile; 2]) {
    let (stage, parity) = (round % STAGES, round / STAGES % 2);
    if fault != Fault::Hasty {
        barriers(stage)[0].wait(parity);
    }
    (stage, boxes(stage).map(wgmma::Tile::new))
}

fn multiply_whole(fault: Fault) -> Sums {
    let mut sums: Sums = [0.0; COLUMNS as usize / 2];
    for round in 0..ROUNDS {
        let (stage, [a, b]) = tiles(round, fault);
        wgmma::multiply::<f16, _>(&mut sums, a, b);
        tell(stage, fault);
    }
    sums
}

fn multiply_running(fault: Fault) -> Sums {
    let (mut before, [a, b]) = tiles(0, fault);
    let mut sums = wgmma::Running::<Sums>::start::<f16>(a, b);
    if fault == Fault::Generous {
        tell(before, fault);
    }
    for round in 1..ROUNDS {
        let (stage, [a, b]) = tiles(round, fault);
        sums.add::<f16>(a, b);
        tell(
            if fault == Fault::Generous {
                stage
            } else {
                before
            },
            fault,
        );
        before = stage;
    }
    sums.finish()
}

fn consume(out: GlobalMut<f32>, products: Products, fault: Fault) {
    let sums = match products {
        Products::Whole => multiply_whole(fault),
        Products::Running => multiply_running(fault),
    };
    let (lane, warp) = (warp::lane_id(), warp::warp_id());
    for (index, sum) in sums.into_iter().enumerate() {
        let index = index as u32;
        let row = 16 * warp + lane / 4 + index / 2 % 2 * 8;
        let column = index / 4 * 8 + lane % 4 * 2 + index % 2;
        out.write((row * COLUMNS + column) as usize, sum);
    }
}

fn ring(out: GlobalMut<f32>, a: TensorMap, b: TensorMap, products: Products, fault: Fault) {
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
        consume(out, products, fault);
    }
}

/// Small whole numbers, whose products are exact.
fn numbers(count: u32, seed: u32) -> Vec<f16> {
    let number = |i| f16::from_f32(((i * 7 + seed) % 11) as f32 - 5.0);
    (0..count).map(number).collect()
}

/// Runs a ring, and gives what it wrote.
fn run(products: Products, fault: Fault, seed: u64) -> Result<Vec<f32>, Findings> {
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
    gpu.launch(&ANY, config, move || ring(target, a, b, products, fault))?;
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
    for products in [Products::Whole, Products::Running] {
        for seed in [0, 1, 2] {
            let got = run(products, Fault::None, seed).unwrap();
            assert_eq!(got, want, "{products:?}, seed {seed}");
        }
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
        for products in [Products::Whole, Products::Running] {
            let findings = run(products, fault, 0).unwrap_err();
            assert!(findings.contains(kind), "{kind:?} expected: {findings}");
        }
    }
    let findings = run(Products::Running, Fault::Generous, 0).unwrap_err();
    assert!(findings.contains(FindingKind::CopyInFlight), "{findings}");
}
