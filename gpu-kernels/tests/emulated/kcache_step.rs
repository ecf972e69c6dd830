//! The fused decode attention on a device: its inputs, what it keeps from step to step, a launch.

use cuda_std::emulation::arguments_of;
use cuda_std::{Float16, Global, GlobalMut, Kernel};
use gpu_kernels::kcache_attention::hot_rows::{NO_POSITION, NO_SLOT};
use gpu_kernels::kcache_attention::{self as fused, ADDRESSES, RUN};

use crate::device::{Buffer, Gpu, LaunchConfig, LaunchError};
use crate::kcache_setup::Setup;
use crate::support::{Cache, Random};

/// The kernel as a function.
#[rustfmt::skip]
pub type Attention<T> = fn(
    GlobalMut<T>, Global<u64>, GlobalMut<u32>,
    GlobalMut<f32>, GlobalMut<f32>, GlobalMut<f32>, GlobalMut<f32>, GlobalMut<u32>,
    GlobalMut<u32>,
    Global<T>, Global<u64>, Global<u64>, Global<u64>, Global<u64>, Global<u32>,
    u32, u32, u32, u32, u32, u32, u32, u32, f32, u32, u32, u32, u32, f32,
);

/// A kernel, and the shared memory that it takes for a size of heads, candidates and slots.
#[derive(Clone, Copy)]
pub struct Variant<T> {
    pub kernel: &'static Kernel,
    pub attention: Attention<T>,
    pub shared_bytes: fn(u32, u32, u32) -> u32,
    /// Whether only the image for Hopper has it.
    pub hopper: bool,
}

/// What device memory holds of one sequence beside K.
#[derive(Clone, Copy)]
pub struct Memory<T> {
    pub near: Buffer<T>,
    pub hot: Buffer<T>,
    pub slot_of: Buffer<u16>,
    pub position_of: Buffer<u32>,
    pub order: Buffer<u16>,
}

impl<T: Float16> Memory<T> {
    /// A row of the kernel's `memory`.
    fn addresses(&self) -> [u64; ADDRESSES as usize] {
        let (near, hot) = (self.near.address(), self.hot.address());
        let (slot_of, order) = (self.slot_of.address(), self.order.address());
        [near, hot, slot_of, self.position_of.address(), order]
    }
}

pub struct Step<T> {
    pub gpu: Gpu,
    pub setup: Setup,
    pub q: Vec<T>,
    pub k: Cache<T>,
    pub v: Cache<T>,
    pub totals: Vec<f32>,
    pub memories: Vec<Memory<T>>,
    pub out: Buffer<T>,
    pub scores: Buffer<f32>,
    pub score_stride: usize,
    pub rows: Buffer<u32>,
    pub row_stride: usize,
    pub arrivals: Buffer<u32>,
    pub traffic: Buffer<u64>,
    counts: Buffer<u32>,
    pub lengths: Buffer<u32>,
    q_buffer: Buffer<T>,
    maxima: Buffer<f32>,
    masses: Buffer<f32>,
    partials: Buffer<f32>,
    splits: usize,
    memory: Buffer<u64>,
    /// Addresses of the totals, and of the counters, of each sequence.
    totals_at: Buffer<u64>,
    traffic_at: Buffer<u64>,
}

impl<T: Float16> Step<T> {
    pub fn new(setup: Setup, seed: u64) -> Self {
        let Setup {
            q_heads,
            kv_heads,
            dim,
            ..
        } = setup;
        let mut random = Random::new(seed);
        let mut gpu = Gpu::new();
        let lengths = setup.lengths.clone();
        let (pairs, queries) = (lengths.len() * kv_heads, lengths.len() * q_heads);
        let row = kv_heads * dim;
        let keys = lengths
            .iter()
            .map(|&length| {
                let mut keys: Vec<T> = random.halves(length * row);
                for position in setup.distinct..length {
                    let copied = random.below(setup.distinct as u32) as usize * row;
                    keys.copy_within(copied..copied + row, position * row);
                }
                keys
            })
            .collect();
        let k = Cache::holding(&mut gpu, keys, kv_heads, dim);
        let v = Cache::random(&mut gpu, &mut random, &lengths, kv_heads, dim);
        // Large queries make sharp softmaxes.
        let q: Vec<T> = random
            .floats(queries * dim)
            .iter()
            .map(|x| T::from_f32(x * 4.0))
            .collect();
        let totals = random.floats(pairs * dim);
        let longest = lengths.iter().copied().max().unwrap();
        let score_stride = longest.next_multiple_of(64);
        let splits = longest.div_ceil(setup.split);
        let row_stride = setup.top.min(longest);
        let positions = k.table_stride * 64;
        let memories: Vec<Memory<T>> = lengths
            .iter()
            .map(|_| Memory {
                near: gpu.allocate("near rows", (setup.sinks + setup.window) * row),
                hot: gpu.allocate("hot rows", setup.slots * row),
                slot_of: gpu.upload("slot_of", &vec![NO_SLOT; kv_heads * positions]),
                position_of: gpu.upload("position_of", &vec![NO_POSITION; kv_heads * setup.slots]),
                order: gpu.upload(
                    "order",
                    &(0..setup.slots as u16).collect::<Vec<_>>().repeat(kv_heads),
                ),
            })
            .collect();
        let addresses: Vec<u64> = memories.iter().flat_map(Memory::addresses).collect();
        let lengths_u32: Vec<u32> = lengths.iter().map(|&l| l as u32).collect();
        let traffic = gpu.upload("traffic", &[0; 3]);
        let traffic_at = vec![traffic.address(); lengths.len()];
        let totals_buffer = gpu.upload("totals", &totals);
        let apart = (row * size_of::<f32>()) as u64;
        let totals_at: Vec<u64> = (0..lengths.len() as u64)
            .map(|sequence| totals_buffer.address() + sequence * apart)
            .collect();
        let mut step = Self {
            out: gpu.allocate("out", queries * dim),
            scores: gpu.allocate("scores", queries * score_stride),
            score_stride,
            rows: gpu.allocate("rows", pairs * row_stride * 2),
            row_stride,
            arrivals: gpu.upload("arrivals", &vec![0; pairs]),
            traffic,
            traffic_at: gpu.upload("addresses of traffic", &traffic_at),
            counts: gpu.allocate("counts", pairs),
            lengths: gpu.upload("lengths", &lengths_u32),
            q_buffer: gpu.upload("q", &q),
            maxima: gpu.allocate("maxima", queries * score_stride / RUN as usize),
            masses: gpu.allocate("masses", pairs * score_stride),
            partials: gpu.allocate("partials", queries * splits * 2),
            splits,
            memory: gpu.upload("memory", &addresses),
            totals_at: gpu.upload("addresses of totals", &totals_at),
            gpu,
            setup,
            q,
            k,
            v,
            totals,
            memories,
        };
        for (sequence, &length) in lengths.iter().enumerate() {
            step.set_length(sequence, length);
        }
        step
    }

    pub fn scale(&self) -> f32 {
        (self.setup.dim as f32).sqrt().recip()
    }

    /// Sets a sequence's length, and what is near at this length.
    pub fn set_length(&mut self, sequence: usize, length: usize) {
        self.setup.lengths[sequence] = length;
        self.gpu.write(self.lengths, sequence, &[length as u32]);
        let Setup { sinks, window, .. } = self.setup;
        let first = sinks.min(length);
        for position in 0..first {
            self.put_near(sequence, position, position);
        }
        for position in length.saturating_sub(window).max(first)..length {
            self.put_near(sequence, position, sinks + position % window);
        }
    }

    fn put_near(&mut self, sequence: usize, position: usize, place: usize) {
        let Setup {
            kv_heads,
            dim,
            sinks,
            window,
            ..
        } = self.setup;
        for head in 0..kv_heads {
            let row: Vec<T> = self
                .v
                .row(sequence, position, head)
                .iter()
                .map(|&x| T::from_f32(x as f32))
                .collect();
            let at = (head * (sinks + window) + place) * dim;
            self.gpu.write(self.memories[sequence].near, at, &row);
        }
    }

    /// Sets the queries.
    pub fn set_queries(&mut self, q: Vec<T>) {
        self.gpu.write(self.q_buffer, 0, &q);
        self.q = q;
    }

    pub fn launch(&mut self, variant: Variant<T>, seed: u64) -> Result<(), LaunchError> {
        let (config, call) = self.call(variant, seed);
        self.gpu.launch(variant.kernel, config, call)
    }

    /// Launches a kernel that takes what `variant` does, and one argument more.
    pub fn launch_with(
        &mut self,
        kernel: &'static Kernel,
        variant: Variant<T>,
        seed: u64,
        argument: Vec<u8>,
    ) -> Result<(), LaunchError> {
        let (config, call) = self.call(variant, seed);
        let mut arguments = arguments_of(call);
        arguments.push(argument);
        let call = move || (kernel.call)(&arguments);
        self.gpu.launch(kernel, config, call)
    }

    /// A launch of `variant`: its shape, and the kernel with its arguments.
    fn call(&self, variant: Variant<T>, seed: u64) -> (LaunchConfig, impl Fn() + use<T>) {
        let attention = variant.attention;
        let s = self.setup.clone();
        let grid = [self.splits, s.kv_heads, s.lengths.len()].map(|blocks| blocks as u32);
        let [dim, slots, candidates] = [s.dim, s.slots, s.candidates].map(|size| size as u32);
        let config = LaunchConfig::new(grid, fused::THREADS)
            .dynamic_shared((variant.shared_bytes)(dim, candidates, slots))
            .seed(seed);
        let (out, traffic) = (self.out.global_mut(), self.traffic_at.global());
        let (counts, scores) = (self.counts.global_mut(), self.scores.global_mut());
        let (maxima, partials) = (self.maxima.global_mut(), self.partials.global_mut());
        let masses = self.masses.global_mut();
        let (rows, arrivals) = (self.rows.global_mut(), self.arrivals.global_mut());
        let (q, lengths) = (self.q_buffer.global(), self.lengths.global());
        let (k_table, v_table) = (self.k.table.global(), self.v.table.global());
        let (memory, totals) = (self.memory.global(), self.totals_at.global());
        let strides = [self.score_stride, self.row_stride, self.k.table_stride];
        let scale = self.scale();
        let call = move || {
            let [score_stride, row_stride, table_stride] = strides.map(|stride| stride as u32);
            let [q_heads, split, sinks, window, top] =
                [s.q_heads, s.split, s.sinks, s.window, s.top].map(|size| size as u32);
            let (group_score, weighting) = (s.group_score as u32, s.weighting as u32);
            attention(
                out,
                traffic,
                counts,
                scores,
                maxima,
                masses,
                partials,
                rows,
                arrivals,
                q,
                k_table,
                v_table,
                memory,
                totals,
                lengths,
                q_heads,
                score_stride,
                row_stride,
                table_stride,
                split,
                sinks,
                window,
                top,
                s.p,
                group_score,
                weighting,
                slots,
                candidates,
                scale,
            );
        };
        (config, call)
    }

    /// The rows that the last launch selected between sinks and window: position and slot.
    pub fn selected(&mut self, pair: usize) -> Vec<(usize, u32)> {
        let length = self.setup.lengths[pair / self.setup.kv_heads];
        let near = length - self.setup.middle(length).len();
        let chosen = self.gpu.read(self.counts, pair, 1)[0] as usize - near;
        let rows = self
            .gpu
            .read(self.rows, pair * self.row_stride * 2, chosen * 2);
        rows.chunks(2).map(|r| (r[0] as usize, r[1])).collect()
    }
}
