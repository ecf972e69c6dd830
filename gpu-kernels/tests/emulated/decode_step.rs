//! The kernels of a decode step, launched one after the other.

use cuda_std::{Float16, Global, GlobalMut, Kernel};
use gpu_kernels::select_rows::GroupScore;
use gpu_kernels::v_combine::Weighting;
use gpu_kernels::{decode_scores, select_rows, v_combine, v_sum};

use crate::device::{Buffer, Gpu, LaunchConfig};
use crate::support::{Cache, Random, null};

pub type Scores<T> =
    fn(GlobalMut<f32>, GlobalMut<f32>, Global<T>, Global<u64>, Global<u32>, u32, u32, u32, f32);
pub type Sum = fn(
    GlobalMut<f32>,
    GlobalMut<f32>,
    Global<u32>,
    Global<u32>,
    Global<f32>,
    Global<f32>,
    Global<u64>,
    u32,
    u32,
    u32,
    u32,
);
pub type Combine<T> =
    fn(GlobalMut<T>, Global<f32>, Global<f32>, Global<u64>, Global<u32>, u32, u32, u32, u32);

/// Heads, and the lengths of the sequences.
#[derive(Clone, Copy)]
pub struct Shape<'a> {
    pub q_heads: usize,
    pub kv_heads: usize,
    pub dim: usize,
    pub lengths: &'a [usize],
}

/// What is selected, and how the rest counts. Without `top` every row is.
#[derive(Clone, Copy)]
pub struct Policy {
    pub top: Option<usize>,
    pub weighting: Weighting,
    /// Parts of the sum over V.
    pub splits: usize,
}

const SINKS: usize = 2;
const WINDOW: usize = 5;

/// One decode step on a device: its inputs, and what the kernels leave for each other.
pub struct Step<'a, T> {
    pub gpu: Gpu,
    pub shape: Shape<'a>,
    pub policy: Policy,
    pub seed: u64,
    pub q: Vec<T>,
    pub k: Cache<T>,
    pub v: Cache<T>,
    pub totals: Vec<f32>,
    pub lengths: Global<u32>,
    pub scores: Buffer<f32>,
    pub score_stride: usize,
    pub partials: Buffer<f32>,
    pub score_splits: usize,
    pub rows: Buffer<u32>,
    pub row_stride: usize,
    pub counts: Buffer<u32>,
    pub stats: Buffer<f32>,
    pub sums: Buffer<f32>,
    pub kept: Buffer<f32>,
    pub out: Buffer<T>,
}

impl<'a, T: Float16> Step<'a, T> {
    pub fn new(shape: Shape<'a>, policy: Policy, seed: u64) -> Self {
        let Shape {
            q_heads,
            kv_heads,
            dim,
            lengths,
        } = shape;
        let mut random = Random::new(seed);
        let mut gpu = Gpu::new();
        let longest = lengths.iter().copied().max().unwrap();
        let score_stride = longest.next_multiple_of(2);
        let score_splits = longest.div_ceil(decode_scores::POSITIONS as usize);
        let row_stride = SINKS + WINDOW + policy.top.unwrap_or(0);
        let queries = lengths.len() * q_heads;
        let pairs = lengths.len() * kv_heads;
        let lengths_u32: Vec<u32> = lengths.iter().map(|&l| l as u32).collect();
        Self {
            // Large queries make sharp softmaxes.
            q: random
                .floats(queries * dim)
                .iter()
                .map(|x| T::from_f32(x * 4.0))
                .collect(),
            k: Cache::random(&mut gpu, &mut random, lengths, kv_heads, dim),
            v: Cache::random(&mut gpu, &mut random, lengths, kv_heads, dim),
            totals: random.floats(pairs * dim),
            lengths: gpu.upload("lengths", &lengths_u32).global(),
            scores: gpu.allocate("scores", queries * score_stride),
            partials: gpu.allocate("partials", queries * score_splits * 2),
            rows: gpu.allocate("rows", pairs * row_stride),
            counts: gpu.allocate("counts", pairs),
            stats: gpu.allocate("stats", queries * 2),
            sums: gpu.allocate("sums", queries * policy.splits * dim),
            kept: gpu.allocate("kept", queries * policy.splits),
            out: gpu.allocate("out", queries * dim),
            gpu,
            shape,
            policy,
            seed,
            score_stride,
            score_splits,
            row_stride,
        }
    }

    pub fn scale(&self) -> f32 {
        (self.shape.dim as f32).sqrt().recip()
    }

    fn config(&self, grid: [usize; 3], threads: u32) -> LaunchConfig {
        LaunchConfig::new(grid.map(|blocks| blocks as u32), threads).seed(self.seed)
    }

    pub fn score(&mut self, (kernel, score): (&Kernel, Scores<T>)) {
        let Shape {
            q_heads,
            kv_heads,
            lengths,
            ..
        } = self.shape;
        let (scores, partials) = (self.scores.global_mut(), self.partials.global_mut());
        let q = self.gpu.upload("q", &self.q).global();
        let (table, lengths_buffer) = (self.k.table.global(), self.lengths);
        let strides = (self.score_stride as u32, self.k.table_stride as u32);
        let (heads, scale) = (q_heads as u32, self.scale());
        let grid = [self.score_splits, kv_heads, lengths.len()];
        let config = self.config(grid, decode_scores::THREADS);
        self.gpu
            .launch(kernel, config, move || {
                let (scores_apart, tables_apart) = strides;
                score(
                    scores,
                    partials,
                    q,
                    table,
                    lengths_buffer,
                    heads,
                    scores_apart,
                    tables_apart,
                    scale,
                );
            })
            .unwrap();
    }

    pub fn select(&mut self) {
        let Shape {
            q_heads,
            kv_heads,
            lengths,
            ..
        } = self.shape;
        let mass = self
            .gpu
            .allocate("mass", lengths.len() * kv_heads * self.score_stride);
        let (rows, counts) = (self.rows.global_mut(), self.counts.global_mut());
        let (stats, mass) = (self.stats.global_mut(), mass.global_mut());
        let (scores, partials) = (self.scores.global(), self.partials.global());
        let lengths_buffer = self.lengths;
        let sizes = [
            q_heads,
            self.score_stride,
            self.row_stride,
            self.score_splits,
            SINKS,
            self.policy.top.unwrap_or(0),
            WINDOW,
            GroupScore::Sum as usize,
        ];
        let config = self.config([kv_heads, lengths.len(), 1], select_rows::THREADS);
        self.gpu
            .launch(&select_rows::SELECT_ROWS, config, move || {
                let [heads, stride, room, splits, sinks, top, window, group_score] =
                    sizes.map(|s| s as u32);
                select_rows::select_rows(
                    rows,
                    counts,
                    stats,
                    mass,
                    scores,
                    partials,
                    lengths_buffer,
                    heads,
                    stride,
                    room,
                    splits,
                    sinks,
                    top,
                    window,
                    group_score,
                );
            })
            .unwrap();
    }

    pub fn sum(&mut self, (kernel, sum): (&Kernel, Sum)) {
        let Shape {
            q_heads,
            kv_heads,
            dim,
            lengths,
        } = self.shape;
        let (rows, counts) = match self.policy.top {
            Some(_) => (self.rows.global(), self.counts.global()),
            None => {
                let every: Vec<u32> = lengths
                    .iter()
                    .flat_map(|&l| vec![l as u32; kv_heads])
                    .collect();
                (null(), self.gpu.upload("all rows", &every).global())
            }
        };
        let (sums, kept) = (self.sums.global_mut(), self.kept.global_mut());
        let (scores, stats) = (self.scores.global(), self.stats.global());
        let table = self.v.table.global();
        let sizes = [
            q_heads,
            self.score_stride,
            self.row_stride,
            self.v.table_stride,
        ];
        let config = self
            .config(
                [self.policy.splits, kv_heads, lengths.len()],
                v_sum::THREADS,
            )
            .dynamic_shared(v_sum::shared_bytes(dim as u32));
        self.gpu
            .launch(kernel, config, move || {
                let [heads, score_stride, row_stride, table_stride] = sizes.map(|s| s as u32);
                sum(
                    sums,
                    kept,
                    rows,
                    counts,
                    scores,
                    stats,
                    table,
                    heads,
                    score_stride,
                    row_stride,
                    table_stride,
                );
            })
            .unwrap();
    }

    pub fn combine(&mut self, (kernel, combine): (&Kernel, Combine<T>)) {
        let Shape {
            q_heads,
            kv_heads,
            dim,
            lengths,
        } = self.shape;
        let totals = self.gpu.upload("totals", &self.totals);
        let apart = (kv_heads * dim * size_of::<f32>()) as u64;
        let totals: Vec<u64> = (0..lengths.len() as u64)
            .map(|sequence| totals.address() + sequence * apart)
            .collect();
        let totals = self.gpu.upload("addresses of totals", &totals).global();
        let lengths_buffer = self.lengths;
        let (out, sums) = (self.out.global_mut(), self.sums.global());
        let kept = self.kept.global();
        let sizes = [
            kv_heads,
            dim,
            self.policy.splits,
            self.policy.weighting as usize,
        ];
        let config = self.config([q_heads, lengths.len(), 1], v_combine::THREADS);
        self.gpu
            .launch(kernel, config, move || {
                let [kv_heads, dim, splits, weighting] = sizes.map(|s| s as u32);
                combine(
                    out,
                    sums,
                    kept,
                    totals,
                    lengths_buffer,
                    kv_heads,
                    dim,
                    splits,
                    weighting,
                );
            })
            .unwrap();
    }
}
