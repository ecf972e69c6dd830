//! Matrix products.

mod family;
mod fused;
mod fused_names;
mod warpgroups;
mod weights;

use gpu_kernels::{gemm, gemm_wgmma};
use half::bf16;

use super::super::tuning::{Choices, ProductRule};
use super::{check_lengths, function, refused, sizes};
use crate::driver::{DeviceSlice, DeviceSliceMut, Function, Launch, Module, Result, Stream};

use family::Family;
use fused::Fused;
use warpgroups::Warpgroups;
use weights::Weights;

pub use fused::{Gated, MAX_JOINT, Part};

/// The kernels that the table of choices names.
pub struct Kernels {
    chosen: Vec<(ProductRule, Family)>,
    /// Takes what no rule does.
    large: Function,
    /// Products of a few rows with their neighbours.
    fused: Fused,
    /// The gate of many rows, if warpgroups are chosen for any.
    gate: Option<Warpgroups>,
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
    pub fn load(module: &Module, choices: &Choices) -> Result<Self> {
        let load = |rule: &ProductRule| Ok((*rule, Family::load(module, rule.kernel)?));
        let chosen: Vec<_> = choices.product.iter().map(load).collect::<Result<_>>()?;
        let warpgroups = |(_, family): &(_, Family)| matches!(family, Family::Warpgroups(_));
        let kernel = &gemm_wgmma::GEMM_WGMMA_GATED_BF16;
        let load_gate = || Warpgroups::load(module, gemm_wgmma::GATED, kernel);
        Ok(Self {
            gate: chosen.iter().any(warpgroups).then(load_gate).transpose()?,
            chosen,
            large: function(module, &gemm::GEMM_LARGE_BF16)?,
            fused: Fused::load(module, choices.fused_products)?,
        })
    }

    /// The product, by the first kernel that is chosen for its size and takes it.
    pub fn multiply(&self, product: &Product<'_>, stream: &Stream) -> Result<()> {
        let size = [product.m, product.n, product.k];
        let mut fitting = self.chosen.iter().filter(|(rule, _)| rule.fits(size));
        fitting
            .find_map(|(_, family)| family.multiply(product, stream))
            .unwrap_or_else(|| product.run_tiles(&self.large, &gemm::LARGE, stream))
    }

    /// `out += x · wᵀ + bias`, of a size that it [`Self::extends`].
    pub fn add(&self, product: &Product<'_>, stream: &Stream) -> Result<()> {
        match self.warpgroups([product.m, product.n, product.k]) {
            Some(warpgroups) => warpgroups.multiply(product, true, stream),
            None => self.fused.add(product, stream),
        }
    }

    /// The products of `x [m, k]` and the weights of each of `parts`, of sizes that it
    /// [`Self::fuses`].
    pub fn joint(
        &self,
        parts: &[Part<'_>],
        x: (DeviceSlice<'_, bf16>, usize, usize),
        stream: &Stream,
    ) -> Result<()> {
        self.fused.joint(parts, x, stream)
    }

    /// Both products of `x [m, k]` and the gate, of a size that it [`Self::extends`].
    pub fn gated(
        &self,
        gated: &Gated<'_>,
        x: DeviceSlice<'_, bf16>,
        stream: &Stream,
    ) -> Result<()> {
        match (&self.gate, self.warpgroups([gated.m, gated.n, gated.k])) {
            (Some(gate), Some(_)) => gate.gate(gated, x, stream),
            _ => self.fused.gated(gated, x, stream),
        }
    }

    /// Whether products `[m, n, k]` and what follows them, a sum or a gate, are one launch.
    pub fn extends(&self, size: [usize; 3]) -> bool {
        self.fuses(size) || self.warpgroups(size).is_some()
    }

    /// Whether [`Fused`] should take products `[m, n, k]`: those of one row, which wait for launches
    /// more than for memory, and those for which its family of kernels is chosen anyway.
    pub fn fuses(&self, size: [usize; 3]) -> bool {
        let [m, ..] = size;
        Fused::takes(m) && (m == 1 || matches!(self.first(size), Some(Family::Skinny(_))))
    }

    /// The warpgroups that products `[m, n, k]` are for, if any.
    fn warpgroups(&self, size @ [m, n, _]: [usize; 3]) -> Option<&Warpgroups> {
        match self.first(size) {
            Some(Family::Warpgroups(chosen)) if m > 1 && Warpgroups::takes(n) => Some(chosen),
            _ => None,
        }
    }

    /// What is chosen for products `[m, n, k]`.
    fn first(&self, size: [usize; 3]) -> Option<&Family> {
        let chosen = self.chosen.iter().find(|(rule, _)| rule.fits(size));
        chosen.map(|(_, family)| family)
    }
}

impl<'a> Product<'a> {
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
        check_depth(kernel, k)?;
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

fn check_depth(kernel: &Function, k: usize) -> Result<()> {
    if k == 0 || !k.is_multiple_of(8) {
        let reason = format!("rows of {k} elements, not of whole 8");
        return Err(refused(kernel.name(), reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::backend::cuda::kernels::{Gated, Kernels, Product};
    use crate::backend::cuda::tests::HOPPER;
    use crate::backend::cuda::tuning::Tuning;
    use crate::driver::{Context, Device, DeviceBuffer, Stream};
    use half::bf16;

    /// Numbers from -1 to 1, `factor` and `shift` telling one list from another.
    fn numbers(count: usize, factor: usize, shift: usize) -> Vec<bf16> {
        let number = |i: usize| ((i * factor + shift) * 37 % 64) as f32 / 32.0 - 1.0;
        (0..count).map(|i| bf16::from_f32(number(i))).collect()
    }

    /// The inner product of rows `i` of the one and `j` of the other.
    fn dot([x, w]: [&[bf16]; 2], [i, j]: [usize; 2], k: usize) -> f64 {
        let pairs = x[i * k..][..k].iter().zip(&w[j * k..][..k]);
        pairs.map(|(x, w)| x.to_f64() * w.to_f64()).sum()
    }

    /// Multiplies on a device, and gives how far the result is from sums in 64 bits; where products
    /// of this size are added to what there is, after a second time too.
    fn error((ordinal, tuning): (u32, &Tuning), size @ [m, n, k]: [usize; 3]) -> f64 {
        let context = Context::new(Device::open(ordinal).unwrap()).unwrap();
        let (stream, kernels) = (
            Stream::new(&context).unwrap(),
            Kernels::load(&context, tuning, None).unwrap(),
        );
        let (x, w) = (numbers(m * k, 1, 0), numbers(n * k, 5, 3));
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
        let extends = kernels.product.extends(size);
        if extends {
            kernels.product.add(&product, &stream).unwrap();
        }
        let times = if extends { 2.0 } else { 1.0 };
        let differences = out.to_host(&stream).unwrap().into_iter().enumerate();
        let differences = differences
            .map(|(i, got)| (f64::from(got) - times * dot([&x, &w], [i / n, i % n], k)).abs());
        differences.fold(0.0, f64::max)
    }

    #[test]
    fn every_size_is_multiplied_by_a_kernel_that_takes_it() {
        // Few rows, many, wide tiles and narrow ones, and columns that warpgroups do not take.
        let sizes = [
            [1, 24, 64],
            [9, 24, 64],
            [64, 17, 64],
            [65, 24, 64],
            [65, 264, 72],
            [130, 136, 64],
            [66, 17, 64],
        ];
        for ordinal in [0, HOPPER] {
            for tuning in [Tuning::embedded().unwrap(), Tuning::newest()] {
                for size in sizes {
                    let error = error((ordinal, &tuning), size);
                    assert!(error < 1e-4, "{size:?} on device {ordinal}: {error}");
                }
            }
        }
    }

    #[test]
    fn gates_of_many_columns_are_computed() {
        let context = Context::new(Device::open(HOPPER).unwrap()).unwrap();
        let stream = Stream::new(&context).unwrap();
        let kernels = Kernels::load(&context, &Tuning::newest(), None).unwrap();
        let columns = 16 * context.device().multiprocessors as usize;
        // Rows that are short, columns that are few, enough of both for blocks that stay, and many
        // rows.
        let few_rows = [[8, columns, 64], [9, 24, 64], [9, columns, 2056]];
        for size @ [m, n, k] in few_rows.into_iter().chain([[66, 24, 64], [130, 136, 72]]) {
            assert!(kernels.product.extends(size), "{size:?}");
            let x = numbers(m * k, 1, 0);
            let (gate, up) = (numbers(n * k, 5, 3), numbers(n * k, 11, 7));
            let upload = |values: &[bf16]| DeviceBuffer::from_host(&stream, "x", values).unwrap();
            let (x_buffer, gates, ups) = (upload(&x), upload(&gate), upload(&up));
            let mut out = DeviceBuffer::<bf16>::zeroed(&stream, "out", m * n).unwrap();
            let gated = Gated {
                out: &out.as_mut_slice(),
                gate: gates.as_slice(),
                up: ups.as_slice(),
                m,
                n,
                k,
            };
            let x_slice = x_buffer.as_slice();
            kernels.product.gated(&gated, x_slice, &stream).unwrap();
            for (i, got) in out.to_host(&stream).unwrap().into_iter().enumerate() {
                let [gate, up] = [&gate, &up].map(|w| dot([&x, w], [i / n, i % n], k));
                let want = gate / (1.0 + (-gate).exp()) * up;
                let off = (got.to_f64() - want).abs();
                assert!(
                    off <= 0.01 * want.abs() + 0.01,
                    "{m}×{n}, {i}: {got}, {want}"
                );
            }
        }
    }
}
