//! Speed of the CPU backend's operations, beside the roof of what they are bound by.
//!
//! `cargo bench --bench cpu_ops [-- part of a row's name]`
//!
//! Times are the best of many runs, on the threads that rayon starts (set
//! `RAYON_NUM_THREADS` to change them). GB are 10⁹ bytes as stored.
#![allow(missing_docs, clippy::print_stdout, clippy::expect_used)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use kcache::backend::Backend;
use kcache::backend::cpu::matmul::{Product, matmul, matmul_many};
use kcache::backend::cpu::prefill_attention::prefill_attention;
use kcache::backend::cpu::rope::{RopeTable, rotate};
use kcache::backend::cpu::{Cpu, dot, mlp, norm, softmax};
use kcache::cache::BlockStore;
use kcache::models::config::{RopeConfig, RopeScaling, RopeStyle};
use kcache::models::{DType, Tensor};

#[path = "../runtime/backend/cpu/dot/testing.rs"]
#[allow(dead_code)] // the tests use all of it
mod testing;

use testing::{floats, rng, tensor};

/// Stored bytes of a weight that no cache holds.
const BIG: usize = 192 << 20;

fn main() {
    let bench = Bench::from_args();
    println!("{} threads", rayon::current_num_threads());
    let cpu = Cpu::new(None).expect("threads");
    let roof = cpu.bandwidth().expect("memory").near / 1e9;
    println!("memory read {roof:31.1} GB/s");
    bench.matrix_vector(roof);
    bench.decode_step();
    bench.fork_join();
    bench.matrix_matrix();
    bench.attention();
    bench.rows();
}

/// What the command line selects.
struct Bench {
    filter: String,
}

impl Bench {
    /// The first argument that is no flag; cargo itself passes `--bench`.
    fn from_args() -> Self {
        let filter = std::env::args().skip(1).find(|a| !a.starts_with("--"));
        Self {
            filter: filter.unwrap_or_default(),
        }
    }

    /// Prints a row: `name`, the best time of `run`, and `amount` of `unit` per second.
    fn row(&self, name: &str, amount: f64, unit: &str, run: impl FnMut()) -> f64 {
        if !name.contains(&self.filter) {
            return 0.0;
        }
        let seconds = best(run).as_secs_f64();
        let rate = amount / seconds;
        print!("{name:28} {:10.3} ms {rate:9.1} {unit}", seconds * 1e3);
        rate
    }

    fn matrix_vector(&self, roof: f64) {
        let mut rng = rng(1);
        for dtype in DType::ALL {
            let rows = BIG / dtype.row_bytes(4096).expect("whole blocks");
            let w = tensor(&mut rng, dtype, rows, 4096);
            for m in [1, 4, 8] {
                let x = floats(&mut rng, m * 4096);
                let mut out = vec![0.0; m * rows];
                let name = format!("{dtype} matmul m={m}");
                let gigabytes = w.bytes().len() as f64 / 1e9;
                let rate = self.row(&name, gigabytes, "GB/s", || {
                    matmul(&x, m, &w, None, &mut out);
                });
                if rate > 0.0 {
                    println!(" {:4.0}% of memory read", 100.0 * rate / roof);
                }
            }
        }
    }

    /// The products of one token in a model of SmolLM2-135M's shape.
    fn decode_step(&self) {
        for (name, dtype, head) in [
            ("decode step Q4_1", DType::Q4_1, DType::Q8_0),
            ("decode step F16", DType::F16, DType::F16),
            ("decode step BF16", DType::BF16, DType::BF16),
        ] {
            if !name.contains(&self.filter) {
                continue;
            }
            let step = DecodeStep::new(dtype, head);
            let mut room = step.room();
            self.row(name, step.bytes() as f64 / 1e9, "GB/s", || {
                step.run(&mut room)
            });
            println!();
        }
    }

    /// What a parallel region costs beside its work.
    fn fork_join(&self) {
        let mut rng = rng(2);
        let w = tensor(&mut rng, DType::F32, 64, 1024);
        let (x, mut out) = (floats(&mut rng, 1024), vec![0.0; 64]);
        self.row("fork and join, 256 KiB", 1e-6, "million/s", || {
            matmul(&x, 1, &w, None, &mut out);
        });
        println!();
    }

    fn matrix_matrix(&self) {
        let mut rng = rng(3);
        for dtype in [DType::F32, DType::F16, DType::Q4_1, DType::Q6K] {
            for (out, cols) in [(1536, 768), (4096, 4096)] {
                for m in [32, 512] {
                    let w = tensor(&mut rng, dtype, out, cols);
                    let x = floats(&mut rng, m * cols);
                    let mut y = vec![0.0; m * out];
                    let name = format!("{dtype} {cols}->{out} m={m}");
                    let gigaflops = 2e-9 * (m * out * cols) as f64;
                    self.row(&name, gigaflops, "GFLOP/s", || {
                        matmul(&x, m, &w, None, &mut y)
                    });
                    println!();
                }
            }
        }
    }

    /// One layer of SmolLM2-135M: 9 heads in 3 groups.
    fn attention(&self) {
        let mut rng = rng(4);
        for (past, m) in [(0, 512), (0, 4096), (3584, 512), (32_256, 512)] {
            let mut store = || {
                let mut store = BlockStore::new(3, 64);
                let rows = floats(&mut rng, (past + m) * 192);
                store.append(&rows).expect("memory");
                store
            };
            let (k, v) = (store(), store());
            let q = floats(&mut rng, m * 576);
            let mut out = vec![0.0; m * 576];
            let pairs = m * past + m * (m + 1) / 2;
            let gigaflops = 4e-9 * (pairs * 576) as f64;
            let name = format!("attention {m} after {past}");
            self.row(&name, gigaflops, "GFLOP/s", || {
                prefill_attention(&k, &v, &q, m, &mut out);
            });
            println!();
        }
    }

    fn rows(&self) {
        let mut rng = rng(5);
        let (mut x, weight) = (floats(&mut rng, 512 * 576), floats(&mut rng, 576));
        let mut out = x.clone();
        let millions = x.len() as f64 / 1e6;
        self.row("rms_norm 512 x 576", millions, "M/s", || {
            norm::rms_norm(&x, &weight, 1e-5, &mut out);
        });
        println!();
        let table = rope_table();
        let positions: Vec<usize> = (4096..4608).collect();
        self.row("rope 512 x 9 x 64", millions, "M/s", || {
            rotate(&mut x, &positions, &table)
        });
        println!();
        self.row("rope 1 x 9 x 64", 576e-6, "M/s", || {
            rotate(&mut x[..576], &[4095], &table)
        });
        println!();
        let up = out.clone();
        self.row("swiglu 512 x 576", millions, "M/s", || {
            mlp::swiglu(&mut out, &up)
        });
        println!();
        let mut scores = floats(&mut rng, 100_000);
        self.row("exp_sum 100k, one thread", 0.1, "M/s", || {
            black_box(softmax::exp_sum(&mut scores));
        });
        println!();
        let (q, k) = (floats(&mut rng, 192), floats(&mut rng, 64 * 64));
        let mut out = vec![0.0; 192];
        let floats = 3e-9 * 2.0 * (64 * 64) as f64;
        self.row("dot_rows 3 x 64 x 64", floats, "GFLOP/s", || {
            dot::dot_rows(&q, 64, &k, &mut out);
        });
        println!();
    }
}

fn rope_table() -> RopeTable {
    let config = RopeConfig {
        theta: 100_000.0,
        style: RopeStyle::HalfSplit,
        scaling: RopeScaling::None,
    };
    RopeTable::new(&config, 64)
}

/// The shortest of at least 5 runs and at least half a second.
fn best(mut run: impl FnMut()) -> Duration {
    run();
    let (mut best, mut total, mut runs) = (Duration::MAX, Duration::ZERO, 0);
    while runs < 5 || total < Duration::from_millis(500) {
        let start = Instant::now();
        run();
        let time = start.elapsed();
        best = best.min(time);
        total += time;
        runs += 1;
    }
    best
}

/// Weights of 30 blocks and of the output.
struct DecodeStep {
    layers: Vec<[Tensor; 7]>,
    head: Tensor,
}

/// An input and an output of every width.
struct Room {
    x: Vec<f32>,
    outs: [Vec<f32>; 3],
}

impl DecodeStep {
    fn new(dtype: DType, head: DType) -> Self {
        let mut rng = rng(6);
        let shapes = [
            (576, 576),
            (192, 576),
            (192, 576),
            (576, 576),
            (1536, 576),
            (1536, 576),
            (576, 1536),
        ];
        let mut layer = || shapes.map(|(out, cols)| tensor(&mut rng, dtype, out, cols));
        Self {
            layers: (0..30).map(|_| layer()).collect(),
            head: tensor(&mut testing::rng(7), head, 49_152, 576),
        }
    }

    fn bytes(&self) -> usize {
        let tensors = self.layers.iter().flatten().chain([&self.head]);
        tensors.map(|w| w.bytes().len()).sum()
    }

    fn room(&self) -> Room {
        Room {
            x: vec![0.5; 1536],
            outs: [(); 3].map(|()| vec![0.0; 49_152]),
        }
    }

    fn run(&self, room: &mut Room) {
        for [q, k, v, o, gate, up, down] in &self.layers {
            room.multiply(&[q, k, v]);
            room.multiply(&[o]);
            room.multiply(&[gate, up]);
            room.multiply(&[down]);
        }
        room.multiply(&[&self.head]);
    }
}

impl Room {
    fn multiply(&mut self, weights: &[&Tensor]) {
        let pairs = weights.iter().zip(&mut self.outs);
        let mut products: Vec<_> = pairs
            .map(|(weight, out)| Product {
                weight,
                bias: None,
                out: &mut out[..weight.rows()],
            })
            .collect();
        matmul_many(&self.x[..weights[0].cols()], 1, &mut products);
    }
}
