//! The products of Q, K and V, as one kernel.

use cuda_std::Kernel;
use gpu_kernels::gemm_skinny::{self, SkinnyShape};
use half::bf16;
use kcache::driver::{DeviceBuffer, Launch, Result, TensorMap};

use crate::device::{Bench, of_each_form, sets, wrong};

/// The operands of three products.
struct Operands {
    m: usize,
    k: usize,
    n: [usize; 3],
    x: DeviceBuffer<bf16>,
    /// Several sets, all alike.
    w: Vec<[DeviceBuffer<bf16>; 3]>,
    x_host: Vec<bf16>,
    w_host: [Vec<bf16>; 3],
}

/// Kernel and microseconds of `x · wᵀ` of Q with `n` rows of weights, and K and V with `n_kv` each.
pub fn measure(bench: &mut Bench, [m, n, n_kv, k]: [usize; 4]) -> Result<Vec<(String, f64)>> {
    let [rows_8, rows_16, rows_32, rows_64] = gemm_skinny::SHAPES;
    let mut kernels = vec![
        (rows_8, &gemm_skinny::GEMM_SKINNY_JOINT_8_BF16),
        (rows_16, &gemm_skinny::GEMM_SKINNY_JOINT_16_BF16),
        (rows_32, &gemm_skinny::GEMM_SKINNY_JOINT_32_BF16),
        (rows_64, &gemm_skinny::GEMM_SKINNY_JOINT_64_BF16),
    ];
    if bench.has_wgmma() {
        let streamed = &gemm_skinny::GEMM_STREAMED_JOINT_BF16;
        kernels.push((gemm_skinny::STREAMED_JOINT, streamed));
        kernels.push((gemm_skinny::BOXED, &gemm_skinny::GEMM_BOXED_JOINT_BF16));
        kernels.push((gemm_skinny::KEPT, &gemm_skinny::GEMM_KEPT_JOINT_BF16));
    }
    let kernels = of_each_form(kernels, [m, k]);
    let operands = Operands::new(bench, [m, k], [n, n_kv, n_kv])?;
    let times = kernels.into_iter().map(|(shape, kernel)| {
        let us = operands.measure(bench, (shape, kernel))?;
        Ok((kernel.name.to_owned(), us))
    });
    times.collect()
}

impl Operands {
    fn new(bench: &mut Bench, [m, k]: [usize; 2], n: [usize; 3]) -> Result<Self> {
        let x_host = bench.random(m * k);
        let w_host = n.map(|n| bench.random(n * k));
        let upload = |_| {
            let [q, k, v] = &w_host;
            Ok([
                bench.upload("w", q)?,
                bench.upload("w", k)?,
                bench.upload("w", v)?,
            ])
        };
        let count = sets(2 * n.iter().sum::<usize>() * k);
        let w = (0..count).map(upload).collect::<Result<_>>()?;
        Ok(Self {
            m,
            k,
            n,
            x: bench.upload("x", &x_host)?,
            w,
            x_host,
            w_host,
        })
    }

    fn measure(
        &self,
        bench: &Bench,
        (shape, kernel): (SkinnyShape, &'static Kernel),
    ) -> Result<f64> {
        let function = bench.function(kernel)?;
        let rows = shape.box_rows.unwrap_or(1);
        let map = |set: &[DeviceBuffer<bf16>; 3], i: usize| {
            TensorMap::new(set[i].as_slice(), [self.n[i], self.k], rows)
        };
        let maps = self.w.iter();
        let maps = maps.map(|set| Ok([map(set, 0)?, map(set, 1)?, map(set, 2)?]));
        let maps = maps.collect::<Result<Vec<_>>>()?;
        let n = self.n.map(|n| n as u32);
        let (m, k) = (self.m as u32, self.k as u32);
        let parts = n.iter().map(|n| n.div_ceil(shape.columns)).sum();
        let grid = [shape.blocks(parts, bench.multiprocessors()), 1, 1];
        let [q, keys, values] = self.n.map(|n| bench.allocate("out", self.m * n));
        let mut out = [q?, keys?, values?];
        let out = out.each_mut().map(DeviceBuffer::as_mut_slice);
        let queue = |set: usize| {
            let set = set % self.w.len();
            let mut launch = Launch::new(&function, grid, [shape.threads, 1, 1])
                .shared_bytes(shape.shared_bytes);
            for out in &out {
                launch = launch.buffer_mut(out);
            }
            for (map, w) in maps[set].iter().zip(&self.w[set]) {
                launch = match shape.box_rows {
                    Some(_) => launch.value(map),
                    None => launch.buffer(w.as_slice()),
                };
            }
            // No biases.
            launch = launch.address(0).address(0).address(0);
            launch = n.iter().fold(launch, |launch, n| launch.value(n));
            let launch = launch.buffer(self.x.as_slice()).value(&m).value(&k);
            // SAFETY: the operands have these sizes.
            unsafe { launch.run(&bench.stream) }
        };
        queue(0)?;
        for (i, out) in out.iter().enumerate() {
            let mut values = vec![0.0; self.m * self.n[i]];
            out.as_slice().copy_to_host(&mut values, &bench.stream)?;
            bench.stream.synchronize()?;
            self.check(kernel.name, i, &values)?;
        }
        bench.median_us(self.w.len().max(8), queue)
    }

    /// Compares some values of product `i` with sums in 64 bits.
    fn check(&self, name: &str, i: usize, values: &[f32]) -> Result<()> {
        let (m, n, k) = (self.m, self.n[i], self.k);
        for (row, column) in [(0, 0), (m - 1, n - 1), (m / 2, n / 3)] {
            let x = &self.x_host[row * k..][..k];
            let pairs = x.iter().zip(&self.w_host[i][column * k..][..k]);
            let want: f64 = pairs.map(|(x, w)| x.to_f64() * w.to_f64()).sum();
            let got = f64::from(values[row * n + column]);
            if (got - want).abs() > 1e-4 * (k as f64).sqrt() {
                return Err(wrong(&format!("{name} at {row}, {column}"), got, want));
            }
        }
        Ok(())
    }
}
