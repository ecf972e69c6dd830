//! Rotary embedding, and the rows of the cache.

use cuda_std::{Global, GlobalMut, Kernel, bf16};
use gpu_kernels::rope;

use crate::device::{Buffer, Gpu, LaunchConfig};
use crate::support::{Cache, Random, compare, null, wide, wide_f32};

/// The squared error that one rounding to a 16-bit type may leave.
const ROUNDED: f64 = 1e-5;

type Rotate = fn(
    GlobalMut<bf16>,
    Global<f32>,
    Global<f32>,
    Global<f32>,
    Global<f32>,
    Global<u32>,
    Global<u32>,
    Global<u64>,
    Global<u64>,
    Global<u64>,
    Global<u64>,
    u32,
    u32,
    u32,
    u32,
    u32,
    u32,
    u32,
    u32,
    u32,
    u32,
    u32,
);

const Q_HEADS: usize = 3;
const KV_HEADS: usize = 1;
const HEADS: usize = Q_HEADS + 2 * KV_HEADS;

/// Three tokens of two sequences, at positions that lie in two blocks.
const POSITIONS: [u32; 3] = [3, 63, 64];
const SEQUENCES: [u32; 3] = [1, 0, 0];
const LENGTHS: [usize; 2] = [65, 4];

/// Of V, position 3 is a sink, and 64 is in the window.
const SINKS: u32 = 4;
const WINDOW: u32 = 3;
const NEAR_FROM: u32 = 64;
const NEAR_ROWS: usize = (SINKS + WINDOW) as usize;

/// What a launch leaves.
struct Outcome {
    q: Vec<f64>,
    k: Cache<bf16>,
    v: Cache<bf16>,
    /// By sequence.
    near: [Vec<f64>; 2],
    /// By sequence.
    totals: [Vec<f32>; 2],
}

fn launch(
    gpu: &mut Gpu,
    (kernel, rotate): (&Kernel, Rotate),
    (dim, rotated): (usize, usize),
    (qkv, angles): (&[f32], &[f32]),
    (tokens, before): (usize, Option<&[f32]>),
) -> Outcome {
    let k_cache = Cache::<bf16>::unwritten(gpu, &LENGTHS, KV_HEADS, dim);
    let v_cache = Cache::<bf16>::unwritten(gpu, &LENGTHS, KV_HEADS, dim);
    let q_out: Buffer<bf16> = gpu.allocate("q_out", POSITIONS.len() * Q_HEADS * dim);
    let q = gpu.upload("qkv", qkv).global();
    let (k, v) = (
        q.offset(Q_HEADS * dim),
        q.offset((Q_HEADS + KV_HEADS) * dim),
    );
    let angles = gpu.upload("angles", angles).global();
    let positions = gpu.upload("positions", &POSITIONS).global();
    let sequences = gpu.upload("sequences", &SEQUENCES).global();
    let (k_table, v_table) = (k_cache.table.global(), v_cache.table.global());
    let near_rows: [Buffer<bf16>; 2] =
        [0, 1].map(|_| gpu.allocate("near rows", KV_HEADS * NEAR_ROWS * dim));
    let near = gpu.upload("addresses of near rows", &near_rows.map(Buffer::address));
    let near = near.global();
    let sums = [0, 1].map(|_| match before {
        Some(before) => gpu.upload("totals", before),
        None => gpu.allocate("totals", KV_HEADS * dim),
    });
    let totals = match before {
        Some(_) => {
            let addresses = sums.map(Buffer::address);
            gpu.upload("addresses of totals", &addresses).global()
        }
        None => null(),
    };
    let target = q_out.global_mut();
    let stride = HEADS * dim;
    let sizes = [
        Q_HEADS,
        KV_HEADS,
        dim,
        rotated,
        stride,
        stride,
        k_cache.table_stride,
    ];
    let blocks = HEADS.div_ceil(rope::HEADS_PER_BLOCK as usize) as u32;
    let config = LaunchConfig::new([blocks, tokens as u32, 1], rope::THREADS);
    gpu.launch(kernel, config, move || {
        let [
            q_heads,
            kv_heads,
            dim,
            rotated,
            q_apart,
            kv_apart,
            tables_apart,
        ] = sizes.map(|s| s as u32);
        rotate(
            target,
            q,
            k,
            v,
            angles,
            positions,
            sequences,
            k_table,
            v_table,
            near,
            totals,
            q_heads,
            kv_heads,
            dim,
            rotated,
            q_apart,
            kv_apart,
            tables_apart,
            1,
            NEAR_FROM,
            SINKS,
            WINDOW,
        );
    })
    .unwrap();
    Outcome {
        q: wide(&gpu.download(q_out)),
        k: k_cache,
        v: v_cache,
        near: near_rows.map(|rows| wide(&gpu.download(rows))),
        totals: sums.map(|sums| gpu.download(sums)),
    }
}

/// Rotates one head by the definition.
fn rotate_head(x: &[f32], angles: &[f32], neighbours: bool) -> Vec<f64> {
    let (x, angles) = (wide_f32(x), wide_f32(angles));
    let half = angles.len() / 2;
    let mut y = x.clone();
    for pair in 0..half {
        let (i, j) = if neighbours {
            (2 * pair, 2 * pair + 1)
        } else {
            (pair, pair + half)
        };
        let (cos, sin) = (angles[pair], angles[half + pair]);
        y[i] = x[i] * cos - x[j] * sin;
        y[j] = x[j] * cos + x[i] * sin;
    }
    y
}

fn check(kernel: (&Kernel, Rotate), neighbours: bool, dim: usize, rotated: usize, seed: u64) {
    let mut random = Random::new(seed);
    let mut gpu = Gpu::new();
    let qkv = random.floats(POSITIONS.len() * HEADS * dim);
    let angles = random.floats(LENGTHS[0] * rotated);
    let all = (POSITIONS.len(), None);
    let outcome = launch(&mut gpu, kernel, (dim, rotated), (&qkv, &angles), all);
    for (row, x) in qkv.chunks(dim).enumerate() {
        let (token, head) = (row / HEADS, row % HEADS);
        let (position, sequence) = (POSITIONS[token] as usize, SEQUENCES[token] as usize);
        let mut cached = |cache: &Cache<bf16>| {
            let block = wide(&gpu.download(cache.blocks[sequence][position / 64]));
            block[position % 64 * dim..][..dim].to_vec()
        };
        let rotated_x = rotate_head(x, &angles[position * rotated..][..rotated], neighbours);
        let (got, want) = match head {
            0..Q_HEADS => (
                outcome.q[(token * Q_HEADS + head) * dim..][..dim].to_vec(),
                rotated_x,
            ),
            Q_HEADS => (cached(&outcome.k), rotated_x),
            _ => (cached(&outcome.v), wide_f32(x)),
        };
        compare("rope", &got, &want, dim, ROUNDED);
        let place = match (head, position) {
            (0..=Q_HEADS, _) => continue,
            (_, 3) => 3,
            (_, 64) => SINKS as usize + 64 % WINDOW as usize,
            _ => continue,
        };
        let near = &outcome.near[sequence][place * dim..][..dim];
        compare("near row", near, &got, dim, 0.0);
    }
    let written = |rows: &Vec<f64>| rows.iter().filter(|x| !x.is_nan()).count();
    assert_eq!(outcome.near.each_ref().map(written), [dim, dim]);
}

#[test]
fn rope_rotates_and_fills_the_cache() {
    let halves = (&rope::ROPE_HALVES_BF16, rope::rope_halves_bf16 as Rotate);
    let neighbours = (
        &rope::ROPE_NEIGHBOURS_BF16,
        rope::rope_neighbours_bf16 as Rotate,
    );
    for (seed, dim, rotated) in [(8, 64, 64), (9, 96, 40), (10, 256, 256)] {
        check(halves, false, dim, rotated, seed);
        check(neighbours, true, dim, rotated, seed);
    }
}

#[test]
fn rows_of_v_are_added_to_the_totals_of_their_sequences() {
    let kernel = (&rope::ROPE_HALVES_BF16, rope::rope_halves_bf16 as Rotate);
    let (dim, mut random, mut gpu) = (96, Random::new(11), Gpu::new());
    // The first two tokens, which are of different sequences.
    let tokens = 2;
    let qkv = random.floats(tokens * HEADS * dim);
    let (angles, before) = (random.floats(LENGTHS[0] * dim), random.floats(dim));
    let with = (tokens, Some(before.as_slice()));
    let outcome = launch(&mut gpu, kernel, (dim, dim), (&qkv, &angles), with);
    for (token, row) in qkv.chunks(HEADS * dim).enumerate() {
        let v = &row[(HEADS - 1) * dim..];
        let want: Vec<f32> = before.iter().zip(v).map(|(sum, v)| sum + v).collect();
        assert_eq!(outcome.totals[SEQUENCES[token] as usize], want);
    }
}
