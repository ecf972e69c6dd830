//! Families of kernels that compute products, each for any number of rows that it takes.

use cuda_std::Kernel;
use gpu_kernels::gemm::TileShape;
use gpu_kernels::gemm_skinny::{self as skinny, SkinnyShape};
use gpu_kernels::{gemm, gemm_wgmma, gemv};

use super::super::super::tuning::ProductKernel;
use super::super::{function, sizes};
use super::weights::launch;
use super::{Product, Warpgroups, Weights};
use crate::driver::{Function, Launch, Module, Result, Stream};

/// Kernels by the most rows they take.
type ByRows<const N: usize> = [(SkinnyShape, &'static Kernel); N];

const SKINNY: ByRows<4> = {
    let [rows_8, rows_16, rows_32, rows_64] = skinny::SHAPES;
    [
        (rows_8, &skinny::GEMM_SKINNY_8_BF16),
        (rows_16, &skinny::GEMM_SKINNY_16_BF16),
        (rows_32, &skinny::GEMM_SKINNY_32_BF16),
        (rows_64, &skinny::GEMM_SKINNY_64_BF16),
    ]
};

const STREAMED: ByRows<1> = [(skinny::STREAMED, &skinny::GEMM_STREAMED_BF16)];

const KEPT: ByRows<1> = [(skinny::KEPT, &skinny::GEMM_KEPT_BF16)];

const BOXED: ByRows<1> = [(skinny::BOXED, &skinny::GEMM_BOXED_BF16)];

/// Takes kernels from a module.
pub fn load(
    module: &Module,
    kernels: &[(SkinnyShape, &'static Kernel)],
) -> Result<Vec<(SkinnyShape, Function)>> {
    let load = |(shape, kernel): &(SkinnyShape, &Kernel)| Ok((*shape, function(module, kernel)?));
    kernels.iter().map(load).collect()
}

/// The kernels of one file.
pub enum Family {
    /// By the most rows they take.
    Gemv(Vec<(usize, Function)>),
    /// By the most rows they take.
    Skinny(Vec<(SkinnyShape, Function)>),
    Tiles(TileShape, Function),
    Warpgroups(Warpgroups),
}

impl Family {
    pub fn load(module: &Module, kernel: ProductKernel) -> Result<Self> {
        Ok(match kernel {
            ProductKernel::Gemv => Self::Gemv(vec![
                (1, function(module, &gemv::GEMV_1_BF16)?),
                (2, function(module, &gemv::GEMV_2_BF16)?),
                (4, function(module, &gemv::GEMV_4_BF16)?),
                (8, function(module, &gemv::GEMV_8_BF16)?),
            ]),
            ProductKernel::GemmSkinny => Self::Skinny(load(module, &SKINNY)?),
            ProductKernel::GemmStreamed => Self::Skinny(load(module, &STREAMED)?),
            ProductKernel::GemmKept => Self::Skinny(load(module, &KEPT)?),
            ProductKernel::GemmBoxed => Self::Skinny(load(module, &BOXED)?),
            ProductKernel::GemmSmall => {
                Self::Tiles(gemm::SMALL, function(module, &gemm::GEMM_SMALL_BF16)?)
            }
            ProductKernel::GemmLarge => {
                Self::Tiles(gemm::LARGE, function(module, &gemm::GEMM_LARGE_BF16)?)
            }
            ProductKernel::GemmWgmma128 => {
                let kernel = &gemm_wgmma::GEMM_WGMMA_128_BF16;
                Self::Warpgroups(Warpgroups::load(module, gemm_wgmma::NARROW, kernel)?)
            }
            ProductKernel::GemmWgmma256 => {
                let kernel = &gemm_wgmma::GEMM_WGMMA_256_BF16;
                Self::Warpgroups(Warpgroups::load(module, gemm_wgmma::WIDE, kernel)?)
            }
        })
    }

    /// Queues a product, or gives `None` if the family does not take its size.
    pub fn multiply(&self, product: &Product<'_>, stream: &Stream) -> Option<Result<()>> {
        match self {
            Self::Gemv(kernels) => {
                let (_, kernel) = kernels.iter().find(|(rows, _)| product.m <= *rows)?;
                Some(product.run_gemv(kernel, stream))
            }
            Self::Skinny(kernels) => {
                let fits = |shape: &SkinnyShape| shape.takes(product.m, product.k);
                let (shape, kernel) = kernels.iter().find(|(shape, _)| fits(shape))?;
                Some(product.run_skinny(kernel, shape, stream))
            }
            Self::Tiles(tile, kernel) => Some(product.run_tiles(kernel, tile, stream)),
            Self::Warpgroups(warpgroups) => {
                Warpgroups::takes(product.n).then(|| warpgroups.multiply(product, false, stream))
            }
        }
    }
}

impl<'a> Product<'a> {
    fn run_gemv(&'a self, kernel: &'a Function, stream: &Stream) -> Result<()> {
        let [n] = sizes(kernel, [self.n])?;
        let grid = [n.div_ceil(gemv::COLUMNS_PER_BLOCK), 1, 1];
        self.run_plain(
            Launch::new(kernel, grid, [gemv::THREADS, 1, 1]),
            kernel,
            stream,
        )
    }

    pub(super) fn run_tiles(
        &'a self,
        kernel: &'a Function,
        tile: &TileShape,
        stream: &Stream,
    ) -> Result<()> {
        let [m, n] = sizes(kernel, [self.m, self.n])?;
        let grid = [n.div_ceil(tile.columns), m.div_ceil(tile.rows), 1];
        let launch =
            Launch::new(kernel, grid, [tile.threads, 1, 1]).shared_bytes(tile.shared_bytes);
        self.run_plain(launch, kernel, stream)
    }

    fn run_plain(
        &'a self,
        launch: Launch<'a>,
        kernel: &'a Function,
        stream: &Stream,
    ) -> Result<()> {
        let [m, n, k] = self.check(kernel)?;
        let launch = launch.buffer_mut(self.out).buffer(self.x).buffer(self.w);
        let launch = self.bias(launch).value(&m).value(&n).value(&k);
        // SAFETY: every buffer has the elements of its shape.
        unsafe { launch.run(stream) }
    }

    fn run_skinny(
        &'a self,
        kernel: &'a Function,
        shape: &SkinnyShape,
        stream: &Stream,
    ) -> Result<()> {
        let [m, n, k] = self.check(kernel)?;
        let weights = self.weights(shape)?;
        // No residual is added.
        let launch = self.skinny(kernel, (shape, &weights), n).address(0);
        let launch = launch.value(&m).value(&n).value(&k);
        // SAFETY: every buffer has the elements of its shape.
        unsafe { launch.run(stream) }
    }

    /// The weights as a kernel of `gemm_skinny` takes them.
    pub(super) fn weights(&self, shape: &SkinnyShape) -> Result<Weights<'a>> {
        Weights::new(shape, self.w, [self.n, self.k])
    }

    /// A launch of a kernel of `gemm_skinny`, up to the bias.
    pub(super) fn skinny<'l>(
        &self,
        kernel: &'l Function,
        (shape, weights): (&SkinnyShape, &'l Weights<'a>),
        n: u32,
    ) -> Launch<'l>
    where
        'a: 'l,
    {
        let launch = launch(kernel, *shape, n.div_ceil(shape.columns))
            .buffer_mut(self.out)
            .buffer(self.x);
        self.bias(weights.append(launch))
    }
}
