//! Products, by every kernel that can.

use cuda_std::Kernel;
use gpu_kernels::gemm_skinny::{self, SkinnyShape};
use gpu_kernels::{gemm, gemm_wgmma, gemv};
use half::bf16;
use kcache::driver::{DeviceBuffer, Function, Launch, Result, TensorMap};

use crate::device::{Bench, sets, wrong};

/// Rows and columns of a result that are checked.
const CHECKED: usize = 8;

/// Rows up to which the small tiles may be the best.
const SMALL_ROWS: u32 = 256;

/// How a kernel takes a product.
enum Form {
    /// Addresses of `x` and `w`.
    Plain,
    /// Addresses, or a map of `w`, and a residual.
    Skinny { box_rows: Option<u32> },
    /// Tensor maps, and a residual.
    Maps { rows: u32, columns: u32 },
}

/// A kernel that can compute a product, and its launch.
struct Candidate {
    kernel: &'static cuda_std::Kernel,
    form: Form,
    grid: [u32; 3],
    threads: u32,
    shared_bytes: u32,
}

/// The operands of a product `[m, n, k]`; of `w` there are several, all alike.
struct Operands {
    size: [usize; 3],
    host: [Vec<bf16>; 2],
    x: DeviceBuffer<bf16>,
    w: Vec<DeviceBuffer<bf16>>,
    out: DeviceBuffer<f32>,
}

/// Kernel and microseconds of each way to compute a product.
pub fn measure(bench: &mut Bench, size: [usize; 3]) -> Result<Vec<(String, f64)>> {
    let mut operands = Operands::new(bench, size)?;
    let mut times = Vec::new();
    for candidate in candidates(bench, size) {
        let function = bench.function(candidate.kernel)?;
        let us = candidate.measure(bench, &function, &mut operands)?;
        times.push((candidate.kernel.name.to_owned(), us));
    }
    Ok(times)
}

fn candidates(bench: &Bench, [m, n, k]: [usize; 3]) -> Vec<Candidate> {
    let (m, n) = (m as u32, n as u32);
    let mut list = Vec::new();
    let gemvs = [
        (1, &gemv::GEMV_1_BF16),
        (2, &gemv::GEMV_2_BF16),
        (4, &gemv::GEMV_4_BF16),
        (8, &gemv::GEMV_8_BF16),
    ];
    if let Some((_, kernel)) = gemvs.into_iter().find(|(rows, _)| m <= *rows) {
        list.push(Candidate {
            kernel,
            form: Form::Plain,
            grid: [n.div_ceil(gemv::COLUMNS_PER_BLOCK), 1, 1],
            threads: gemv::THREADS,
            shared_bytes: 0,
        });
    }
    let [rows_8, rows_16, rows_32, rows_64] = gemm_skinny::SHAPES;
    let by_registers = [
        (rows_8, &gemm_skinny::GEMM_SKINNY_8_BF16),
        (rows_16, &gemm_skinny::GEMM_SKINNY_16_BF16),
        (rows_32, &gemm_skinny::GEMM_SKINNY_32_BF16),
        (rows_64, &gemm_skinny::GEMM_SKINNY_64_BF16),
    ];
    let by_copies = [
        (gemm_skinny::STREAMED, &gemm_skinny::GEMM_STREAMED_BF16),
        (gemm_skinny::BOXED, &gemm_skinny::GEMM_BOXED_BF16),
        (gemm_skinny::KEPT, &gemm_skinny::GEMM_KEPT_BF16),
    ];
    let fits = |(shape, _): &&(SkinnyShape, &'static Kernel)| shape.takes(m as usize, k);
    let mut fitting: Vec<_> = by_registers.iter().find(fits).into_iter().collect();
    if bench.has_wgmma() {
        fitting.extend(by_copies.iter().filter(fits));
    }
    for (shape, kernel) in fitting {
        list.push(Candidate {
            kernel,
            form: Form::Skinny {
                box_rows: shape.box_rows,
            },
            grid: [
                shape.blocks(n.div_ceil(shape.columns), bench.multiprocessors()),
                1,
                1,
            ],
            threads: shape.threads,
            shared_bytes: shape.shared_bytes,
        });
    }
    let by_warps = [
        (&gemm::GEMM_SMALL_BF16, gemm::SMALL, m <= SMALL_ROWS),
        (&gemm::GEMM_LARGE_BF16, gemm::LARGE, true),
    ];
    for (kernel, tile, _) in by_warps.into_iter().filter(|(_, _, suits)| *suits) {
        list.push(Candidate {
            kernel,
            form: Form::Plain,
            grid: [n.div_ceil(tile.columns), m.div_ceil(tile.rows), 1],
            threads: tile.threads,
            shared_bytes: tile.shared_bytes,
        });
    }
    let by_warpgroups = [
        (&gemm_wgmma::GEMM_WGMMA_128_BF16, gemm_wgmma::NARROW),
        (&gemm_wgmma::GEMM_WGMMA_256_BF16, gemm_wgmma::WIDE),
    ];
    for (kernel, tile) in by_warpgroups.into_iter().filter(|_| bench.has_wgmma()) {
        list.push(Candidate {
            kernel,
            form: Form::Maps {
                rows: tile.rows,
                columns: tile.columns,
            },
            grid: [tile.blocks([m, n], bench.multiprocessors()), 1, 1],
            threads: gemm_wgmma::THREADS,
            shared_bytes: tile.shared_bytes,
        });
    }
    list
}

impl Candidate {
    fn measure(&self, bench: &Bench, function: &Function, operands: &mut Operands) -> Result<f64> {
        let Operands {
            size: [m, n, k],
            ref x,
            ref w,
            ref mut out,
            ..
        } = *operands;
        let (rows, columns) = match self.form {
            Form::Maps { rows, columns } => (rows, columns),
            Form::Skinny { box_rows } => (1, box_rows.unwrap_or(1)),
            Form::Plain => (1, 1),
        };
        let x_map = TensorMap::new(x.as_slice(), [m, k], rows)?;
        let w_maps: Vec<TensorMap> = w
            .iter()
            .map(|w| TensorMap::new(w.as_slice(), [n, k], columns))
            .collect::<Result<_>>()?;
        let sizes = [m, n, k].map(|size| size as u32);
        let out = out.as_mut_slice();
        let queue = |set: usize| {
            let set = set % w.len();
            let launch = Launch::new(function, self.grid, [self.threads, 1, 1])
                .shared_bytes(self.shared_bytes)
                .buffer_mut(&out);
            let launch = match self.form {
                Form::Maps { .. } => launch.value(&x_map).value(&w_maps[set]),
                Form::Skinny { box_rows: Some(_) } => {
                    launch.buffer(x.as_slice()).value(&w_maps[set])
                }
                Form::Skinny { box_rows: None } | Form::Plain => {
                    launch.buffer(x.as_slice()).buffer(w[set].as_slice())
                }
            };
            // No bias, and no residual.
            let launch = match self.form {
                Form::Skinny { .. } | Form::Maps { .. } => launch.address(0).address(0),
                Form::Plain => launch.address(0),
            };
            let launch = launch.value(&sizes[0]).value(&sizes[1]).value(&sizes[2]);
            // SAFETY: the operands have these sizes.
            unsafe { launch.run(&bench.stream) }
        };
        queue(0)?;
        bench.stream.synchronize()?;
        operands_check(&operands.host, [m, n, k], |row, range| {
            let start = row * n;
            let mut values = vec![0.0; range];
            let all = out.as_slice().slice(start..start + range)?;
            all.copy_to_host(&mut values, &bench.stream)?;
            Ok((self.kernel.name, values))
        })?;
        bench.median_us(w.len().max(8), queue)
    }
}

impl Operands {
    fn new(bench: &mut Bench, [m, n, k]: [usize; 3]) -> Result<Self> {
        let host = [bench.random(m * k), bench.random(n * k)];
        let [x, w] = &host;
        Ok(Self {
            size: [m, n, k],
            x: bench.upload("x", x)?,
            w: (0..sets(2 * n * k))
                .map(|_| bench.upload("w", w))
                .collect::<Result<_>>()?,
            out: bench.allocate("out", m * n)?,
            host,
        })
    }
}

/// Compares the first and last columns of some rows with sums in 64 bits; `read` gives the kernel's
/// name and so many columns of a row.
fn operands_check(
    [x, w]: &[Vec<bf16>; 2],
    [m, n, k]: [usize; 3],
    read: impl Fn(usize, usize) -> Result<(&'static str, Vec<f32>)>,
) -> Result<()> {
    for i in 0..CHECKED.min(m) {
        let row = i * (m - 1) / CHECKED.min(m).max(2).saturating_sub(1);
        let (name, values) = read(row, n)?;
        for j in 0..CHECKED.min(n) {
            let column = j * (n - 1) / CHECKED.min(n).max(2).saturating_sub(1);
            let pairs = x[row * k..][..k].iter().zip(&w[column * k..][..k]);
            let want: f64 = pairs.map(|(x, w)| x.to_f64() * w.to_f64()).sum();
            let got = f64::from(values[column]);
            if (got - want).abs() > 1e-4 * (k as f64).sqrt() {
                return Err(wrong(&format!("{name} at {row}, {column}"), got, want));
            }
        }
    }
    Ok(())
}
