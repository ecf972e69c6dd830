//! Matrix products.

use gpu_kernels::gemm::TileShape;
use gpu_kernels::{gemm, gemv};
use half::bf16;

use super::{check_lengths, function, refused, sizes};
use crate::driver::{DeviceSlice, DeviceSliceMut, Function, Launch, Module, Result, Stream};

/// Rows up to which the small tiles are used.
const SMALL_ROWS: usize = 64;

/// The kernels of `gemm.rs` and `gemv.rs`.
pub struct Kernels {
    /// By the most rows they take.
    gemv: [(usize, Function); 4],
    small: Function,
    large: Function,
}

/// `out = x · wᵀ + bias`: `out [m, n]`, `x [m, k]`, `w [n, k]`, `bias [n]`.
pub struct Product<'a> {
    pub out: &'a DeviceSliceMut<'a, f32>,
    pub x: DeviceSlice<'a, bf16>,
    pub w: DeviceSlice<'a, bf16>,
    pub bias: Option<DeviceSlice<'a, f32>>,
    pub m: usize,
    pub n: usize,
    pub k: usize,
}

impl Kernels {
    pub fn load(module: &Module) -> Result<Self> {
        Ok(Self {
            gemv: [
                (1, function(module, &gemv::GEMV_1_BF16)?),
                (2, function(module, &gemv::GEMV_2_BF16)?),
                (4, function(module, &gemv::GEMV_4_BF16)?),
                (8, function(module, &gemv::GEMV_8_BF16)?),
            ],
            small: function(module, &gemm::GEMM_SMALL_BF16)?,
            large: function(module, &gemm::GEMM_LARGE_BF16)?,
        })
    }

    /// The product, by the kernel that suits its rows.
    pub fn multiply(&self, product: &Product<'_>, stream: &Stream) -> Result<()> {
        let few = self.gemv.iter().find(|(most, _)| product.m <= *most);
        match few {
            Some((_, kernel)) => {
                let [n] = sizes(kernel, [product.n])?;
                let grid = [n.div_ceil(gemv::COLUMNS_PER_BLOCK), 1, 1];
                product.run(
                    Launch::new(kernel, grid, [gemv::THREADS, 1, 1]),
                    kernel,
                    stream,
                )
            }
            None if product.m <= SMALL_ROWS => product.run_tiles(&self.small, gemm::SMALL, stream),
            None => product.run_tiles(&self.large, gemm::LARGE, stream),
        }
    }
}

impl<'a> Product<'a> {
    fn run_tiles(&'a self, kernel: &'a Function, tile: TileShape, stream: &Stream) -> Result<()> {
        let [m, n] = sizes(kernel, [self.m, self.n])?;
        let grid = [n.div_ceil(tile.columns), m.div_ceil(tile.rows), 1];
        let launch =
            Launch::new(kernel, grid, [tile.threads, 1, 1]).shared_bytes(tile.shared_bytes);
        self.run(launch, kernel, stream)
    }

    fn run(&'a self, launch: Launch<'a>, kernel: &Function, stream: &Stream) -> Result<()> {
        let Self { m, n, k, .. } = *self;
        if k == 0 || !k.is_multiple_of(8) {
            return Err(refused(
                kernel,
                format!("rows of {k} elements, not of whole 8"),
            ));
        }
        check_lengths(
            kernel,
            &[
                ("out", self.out.len(), m * n),
                ("x", self.x.len(), m * k),
                ("w", self.w.len(), n * k),
                ("bias", self.bias.map_or(n, |bias| bias.len()), n),
            ],
        )?;
        let [m, n, k] = sizes(kernel, [m, n, k])?;
        let launch = launch.buffer_mut(self.out).buffer(self.x).buffer(self.w);
        let launch = match self.bias {
            Some(bias) => launch.buffer(bias),
            None => launch.address(0),
        };
        let launch = launch.value(&m).value(&n).value(&k);
        // SAFETY: every buffer has the elements of its shape.
        unsafe { launch.run(stream) }
    }
}
