//! Products of many rows by the kernels of `gemm_wgmma`.

use gpu_kernels::gemm_wgmma::{self, TileShape};
use half::bf16;

use super::super::function;
use super::{Gated, Product};
use crate::driver::{DeviceSlice, Function, Launch, Module, Result, Stream, TensorMap};

/// Columns of which the kernels take whole ones.
const WHOLE_COLUMNS: usize = 8;

/// One of the kernels.
pub struct Warpgroups {
    tile: TileShape,
    kernel: Function,
}

impl Warpgroups {
    /// Takes from a module the kernel of a shape.
    pub fn load(
        module: &Module,
        tile: TileShape,
        kernel: &'static cuda_std::Kernel,
    ) -> Result<Self> {
        let kernel = function(module, kernel)?;
        Ok(Self { tile, kernel })
    }

    /// Whether the kernels take products of `n` columns.
    pub fn takes(n: usize) -> bool {
        n.is_multiple_of(WHOLE_COLUMNS)
    }

    /// `out = x · wᵀ + bias`, with `adds` added to what `out` holds.
    pub fn multiply(&self, product: &Product<'_>, adds: bool, stream: &Stream) -> Result<()> {
        let [m, n, k] = product.check(&self.kernel)?;
        let x = TensorMap::new(product.x, [product.m, product.k], self.tile.rows)?;
        let w = TensorMap::new(product.w, [product.n, product.k], self.tile.columns)?;
        let launch = self.launch([m, n]).buffer_mut(product.out);
        let launch = product.bias(launch.value(&x).value(&w));
        let launch = match adds {
            true => launch.buffer_mut(product.out),
            false => launch.address(0),
        };
        let launch = launch.value(&m).value(&n).value(&k);
        // SAFETY: every buffer has the elements of its shape, and the maps are of them.
        unsafe { launch.run(stream) }
    }

    /// Both products of `x [m, k]`, and the gate: by the kernel of that shape.
    pub fn gate(&self, gated: &Gated<'_>, x: DeviceSlice<'_, bf16>, stream: &Stream) -> Result<()> {
        let [m, n, k] = gated.check(&self.kernel, x)?;
        let x = TensorMap::new(x, [gated.m, gated.k], self.tile.rows)?;
        let weights = |w| TensorMap::new(w, [gated.n, gated.k], self.tile.columns);
        let (gate, up) = (weights(gated.gate)?, weights(gated.up)?);
        let launch = self.launch([m, n]).buffer_mut(gated.out);
        let launch = launch.value(&x).value(&gate).value(&up);
        let launch = launch.value(&m).value(&n).value(&k);
        // SAFETY: every buffer has the elements of its shape, and the maps are of them.
        unsafe { launch.run(stream) }
    }

    /// A launch for a product `[m, n]`, without arguments.
    fn launch(&self, size: [u32; 2]) -> Launch<'_> {
        let multiprocessors = self.kernel.context().device().multiprocessors;
        let blocks = self.tile.blocks(size, multiprocessors);
        let launch = Launch::new(&self.kernel, [blocks, 1, 1], [gemm_wgmma::THREADS, 1, 1]);
        launch.shared_bytes(self.tile.shared_bytes)
    }
}
