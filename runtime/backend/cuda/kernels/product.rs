//! Matrix products.

use gpu_kernels::gemm_skinny::SkinnyShape;
use gpu_kernels::{gemm, gemm_skinny, gemm_wgmma};
use half::bf16;

use super::{check_lengths, function, has_warpgroups, refused, sizes};
use crate::driver::{
    DeviceSlice, DeviceSliceMut, Function, Launch, Module, Result, Stream, TensorMap,
};

/// Columns of which the kernels of `gemm_wgmma.rs` take whole ones.
const WARPGROUP_COLUMNS: usize = 8;

/// The kernels of `gemm_skinny`, `gemm.rs` and `gemm_wgmma.rs`.
pub struct Kernels {
    /// By the most rows they take.
    skinny: [(SkinnyShape, Function); 4],
    large: Function,
    /// On Hopper.
    warpgroups: Option<Warpgroups>,
}

/// The kernels of `gemm_wgmma.rs`.
struct Warpgroups {
    tiles: [(gemm_wgmma::TileShape, Function); 2],
    multiprocessors: usize,
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
        let [rows_8, rows_16, rows_32, rows_64] = gemm_skinny::SHAPES;
        Ok(Self {
            skinny: [
                (rows_8, function(module, &gemm_skinny::GEMM_SKINNY_8_BF16)?),
                (
                    rows_16,
                    function(module, &gemm_skinny::GEMM_SKINNY_16_BF16)?,
                ),
                (
                    rows_32,
                    function(module, &gemm_skinny::GEMM_SKINNY_32_BF16)?,
                ),
                (
                    rows_64,
                    function(module, &gemm_skinny::GEMM_SKINNY_64_BF16)?,
                ),
            ],
            large: function(module, &gemm::GEMM_LARGE_BF16)?,
            warpgroups: match has_warpgroups(module) {
                true => Some(Warpgroups::load(module)?),
                false => None,
            },
        })
    }

    /// The product, by the kernel that suits its size and the device.
    pub fn multiply(&self, product: &Product<'_>, stream: &Stream) -> Result<()> {
        let mut skinny = self.skinny.iter();
        if let Some((shape, kernel)) = skinny.find(|(shape, _)| product.m <= shape.rows as usize) {
            return product.run_skinny(kernel, shape, stream);
        }
        match &self.warpgroups {
            Some(warpgroups) if product.n.is_multiple_of(WARPGROUP_COLUMNS) => {
                let (tile, kernel) = warpgroups.choose(product);
                product.run_warpgroups(kernel, tile, warpgroups.multiprocessors, stream)
            }
            _ => product.run_large(&self.large, stream),
        }
    }
}

impl Warpgroups {
    fn load(module: &Module) -> Result<Self> {
        let wide = function(module, &gemm_wgmma::GEMM_WGMMA_256_BF16)?;
        let narrow = function(module, &gemm_wgmma::GEMM_WGMMA_128_BF16)?;
        Ok(Self {
            tiles: [(gemm_wgmma::WIDE, wide), (gemm_wgmma::NARROW, narrow)],
            multiprocessors: module.context().device().multiprocessors as usize,
        })
    }

    /// The tiles that keep the busiest multiprocessor least long; of equals the wide ones, which
    /// read less.
    fn choose(&self, product: &Product<'_>) -> (&gemm_wgmma::TileShape, &Function) {
        let columns_of_the_busiest = |tile: &gemm_wgmma::TileShape| {
            let count = tiles(tile, product);
            count.div_ceil(self.multiprocessors.max(1)) * tile.columns as usize
        };
        let [wide, narrow] = &self.tiles;
        let (tile, kernel) =
            match columns_of_the_busiest(&narrow.0) < columns_of_the_busiest(&wide.0) {
                true => narrow,
                false => wide,
            };
        (tile, kernel)
    }
}

/// Tiles of a product.
fn tiles(tile: &gemm_wgmma::TileShape, product: &Product<'_>) -> usize {
    product.m.div_ceil(tile.rows as usize) * product.n.div_ceil(tile.columns as usize)
}

impl<'a> Product<'a> {
    fn run_skinny(
        &'a self,
        kernel: &'a Function,
        shape: &SkinnyShape,
        stream: &Stream,
    ) -> Result<()> {
        let [m, n, k] = self.check(kernel)?;
        let launch = Launch::new(
            kernel,
            [n.div_ceil(shape.columns), 1, 1],
            [gemm_skinny::THREADS, 1, 1],
        );
        let launch = launch
            .shared_bytes(shape.shared_bytes)
            .buffer_mut(self.out)
            .buffer(self.x)
            .buffer(self.w);
        // No residual is added.
        let launch = self.bias(launch).address(0);
        let launch = launch.value(&m).value(&n).value(&k);
        // SAFETY: every buffer has the elements of its shape.
        unsafe { launch.run(stream) }
    }

    fn run_large(&'a self, kernel: &'a Function, stream: &Stream) -> Result<()> {
        let [m, n, k] = self.check(kernel)?;
        let tile = gemm::LARGE;
        let grid = [n.div_ceil(tile.columns), m.div_ceil(tile.rows), 1];
        let launch = Launch::new(kernel, grid, [tile.threads, 1, 1])
            .shared_bytes(tile.shared_bytes)
            .buffer_mut(self.out)
            .buffer(self.x)
            .buffer(self.w);
        let launch = self.bias(launch).value(&m).value(&n).value(&k);
        // SAFETY: every buffer has the elements of its shape.
        unsafe { launch.run(stream) }
    }

    fn run_warpgroups(
        &'a self,
        kernel: &'a Function,
        tile: &gemm_wgmma::TileShape,
        multiprocessors: usize,
        stream: &Stream,
    ) -> Result<()> {
        let [m, n, k] = self.check(kernel)?;
        let [blocks] = sizes(kernel, [tiles(tile, self).min(multiprocessors)])?;
        let x = TensorMap::new(self.x, [self.m, self.k], tile.rows)?;
        let w = TensorMap::new(self.w, [self.n, self.k], tile.columns)?;
        let launch = Launch::new(kernel, [blocks, 1, 1], [gemm_wgmma::THREADS, 1, 1])
            .shared_bytes(tile.shared_bytes)
            .buffer_mut(self.out)
            .value(&x)
            .value(&w);
        let launch = self.bias(launch).value(&m).value(&n).value(&k);
        // SAFETY: every buffer has the elements of its shape, and the maps are of them.
        unsafe { launch.run(stream) }
    }

    fn bias<'l>(&self, launch: Launch<'l>) -> Launch<'l>
    where
        'a: 'l,
    {
        match self.bias {
            Some(bias) => launch.buffer(bias),
            None => launch.address(0),
        }
    }

    /// Sizes as kernels take them.
    fn check(&self, kernel: &Function) -> Result<[u32; 3]> {
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
        sizes(kernel, [m, n, k])
    }
}

#[cfg(test)]
mod tests {
    use crate::backend::cuda::kernels::{Kernels, Product};
    use crate::driver::{Context, Device, DeviceBuffer, Stream};
    use half::bf16;

    /// Multiplies on a device, and gives how far the result is from sums in 64 bits.
    fn error(ordinal: u32, [m, n, k]: [usize; 3]) -> f64 {
        let context = Context::new(Device::open(ordinal).unwrap()).unwrap();
        let (stream, kernels) = (
            Stream::new(&context).unwrap(),
            Kernels::load(&context).unwrap(),
        );
        let number = |i: usize| bf16::from_f32((i * 37 % 64) as f32 / 32.0 - 1.0);
        let x: Vec<bf16> = (0..m * k).map(number).collect();
        let w: Vec<bf16> = (0..n * k).map(|i| number(i * 5 + 3)).collect();
        let x_buffer = DeviceBuffer::from_host(&stream, "x", &x).unwrap();
        let w_buffer = DeviceBuffer::from_host(&stream, "w", &w).unwrap();
        let mut out = DeviceBuffer::<f32>::zeroed(&stream, "out", m * n).unwrap();
        let product = Product {
            out: &out.as_mut_slice(),
            x: x_buffer.as_slice(),
            w: w_buffer.as_slice(),
            bias: None,
            m,
            n,
            k,
        };
        kernels.product.multiply(&product, &stream).unwrap();
        let differences = out.to_host(&stream).unwrap().into_iter().enumerate();
        let differences = differences.map(|(i, got)| {
            let pairs = x[i / n * k..][..k].iter().zip(&w[i % n * k..][..k]);
            let want: f64 = pairs.map(|(x, w)| x.to_f64() * w.to_f64()).sum();
            (f64::from(got) - want).abs()
        });
        differences.fold(0.0, f64::max)
    }

    #[test]
    fn every_size_is_multiplied_by_a_kernel_that_takes_it() {
        for size in [
            [1, 24, 64],
            [9, 24, 64],
            [64, 17, 64],
            [65, 24, 64],
            [65, 17, 64],
        ] {
            assert!(error(0, size) < 1e-4, "{size:?}");
        }
    }

    /// The stand-in's second device is one of Hopper.
    #[test]
    #[cfg(not(feature = "gpu-tests"))]
    fn warpgroups_multiply_where_there_are_any() {
        // Wide tiles, narrow ones, and columns that they do not take.
        for size in [[65, 264, 72], [130, 136, 64], [66, 17, 64]] {
            assert!(error(1, size) < 1e-4, "{size:?}");
        }
    }
}
