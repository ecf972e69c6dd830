//! Products of a few rows together with what comes before and after them.

use gpu_kernels::gemm_skinny::{self as skinny, SkinnyShape};
use half::bf16;

use super::super::super::tuning::ScanKernel;
use super::super::{check_lengths, refused, sizes};
use super::family::load;
use super::fused_names::{COPIES, REGISTERS};
use super::weights::launch;
use super::{Product, Weights, check_depth};
use crate::driver::{
    DeviceSlice, DeviceSliceMut, DriverError, Function, Launch, Module, Result, Stream,
};

/// The most products of one launch.
pub const MAX_JOINT: usize = 3;

/// How many times its columns each multiprocessor must get before it pays that blocks stay.
const KEPT_SHARES: u32 = 3;

/// Kernels that do the same, of which the first that suits a product is taken.
struct Alternatives(Vec<(SkinnyShape, Function)>);

/// The kernels of `gemm_skinny`.
pub struct Fused {
    adding: Alternatives,
    joint: Alternatives,
    gated: Alternatives,
}

/// One of several products `out = x · wᵀ + bias` of the same `x [m, k]`: `out [m, n]`, `w [n, k]`,
/// `bias [n]`.
pub struct Part<'a> {
    pub out: &'a DeviceSliceMut<'a, f32>,
    pub w: DeviceSlice<'a, bf16>,
    pub bias: Option<DeviceSlice<'a, f32>>,
    pub n: usize,
}

/// `out = silu(x · gateᵀ) · (x · upᵀ)`: `out [m, n]`, `x [m, k]`, `gate` and `up` `[n, k]`.
pub struct Gated<'a> {
    pub out: &'a DeviceSliceMut<'a, bf16>,
    pub gate: DeviceSlice<'a, bf16>,
    pub up: DeviceSlice<'a, bf16>,
    pub m: usize,
    pub n: usize,
    pub k: usize,
}

impl Fused {
    pub fn load(module: &Module, weights: ScanKernel) -> Result<Self> {
        let names = match weights {
            ScanKernel::Registers => &REGISTERS,
            ScanKernel::Copies => &COPIES,
        };
        let load = |names| Ok(Alternatives(load(module, names)?));
        Ok(Self {
            adding: load(names.adding)?,
            joint: load(names.joint)?,
            gated: load(names.gated)?,
        })
    }

    /// Whether there are kernels for products of `m` rows.
    pub fn takes(m: usize) -> bool {
        skinny::SHAPES.iter().any(|shape| m <= shape.rows as usize)
    }

    /// `out += x · wᵀ + bias`.
    pub fn add(&self, product: &Product<'_>, stream: &Stream) -> Result<()> {
        let (shape, kernel) = self.adding.of([product.m, product.n, product.k])?;
        let [m, n, k] = product.check(kernel)?;
        let weights = product.weights(shape)?;
        let launch = product.skinny(kernel, (shape, &weights), n);
        let launch = launch.buffer_mut(product.out);
        let launch = launch.value(&m).value(&n).value(&k);
        // SAFETY: every buffer has the elements of its shape.
        unsafe { launch.run(stream) }
    }

    /// The products of `x [m, k]` and the weights of each of `parts`.
    pub fn joint(
        &self,
        parts: &[Part<'_>],
        (x, m, k): (DeviceSlice<'_, bf16>, usize, usize),
        stream: &Stream,
    ) -> Result<()> {
        let columns = parts.iter().map(|part| part.n).sum();
        let (shape, kernel) = self.joint.of([m, columns, k])?;
        check_lengths(kernel, &[("x", x.len(), m * k)])?;
        let joint = Joint::new((kernel, shape), parts, [m, k])?;
        let launch = joint.launch(kernel, *shape);
        let [m, k] = sizes(kernel, [m, k])?;
        let launch = launch.buffer(x).value(&m).value(&k);
        // SAFETY: every buffer has the elements of its shape.
        unsafe { launch.run(stream) }
    }

    /// Both products of `x [m, k]`, and the gate.
    pub fn gated(
        &self,
        gated: &Gated<'_>,
        x: DeviceSlice<'_, bf16>,
        stream: &Stream,
    ) -> Result<()> {
        let (shape, kernel) = self.gated.of([gated.m, 2 * gated.n, gated.k])?;
        let [m, n, k] = gated.check(kernel, x)?;
        let shape = shape.gated();
        let weights = |w| Weights::new(&shape, w, [gated.n, gated.k]);
        let (gate, up) = (weights(gated.gate)?, weights(gated.up)?);
        let launch = launch(kernel, shape, n.div_ceil(shape.columns))
            .buffer_mut(gated.out)
            .buffer(x);
        let launch = up.append(gate.append(launch));
        let launch = launch.value(&m).value(&n).value(&k);
        // SAFETY: every buffer has the elements of its shape.
        unsafe { launch.run(stream) }
    }
}

impl Alternatives {
    /// The kernel for `m` rows of `k` elements and so many rows of weights.
    fn of(&self, [m, rows, k]: [usize; 3]) -> Result<&(SkinnyShape, Function)> {
        let pays = |(shape, kernel): &(SkinnyShape, Function)| {
            let multiprocessors = kernel.context().device().multiprocessors;
            let shares = shape.columns * multiprocessors * KEPT_SHARES;
            let kept = shape.kept_depth;
            // Of shorter rows most warps would have nothing.
            kept.is_none_or(|most| 2 * k > most as usize && rows >= shares as usize)
        };
        let mut kernels = self.0.iter();
        let found = kernels.find(|kernel| kernel.0.takes(m, k) && pays(kernel));
        found.ok_or_else(|| {
            DriverError::InvalidArgument(format!("{m} rows, too many for a fused product"))
        })
    }
}

impl Gated<'_> {
    /// Sizes as kernels take them.
    pub(super) fn check(&self, kernel: &Function, x: DeviceSlice<'_, bf16>) -> Result<[u32; 3]> {
        let Self { m, n, k, .. } = *self;
        check_depth(kernel, k)?;
        check_lengths(
            kernel,
            &[
                ("x", x.len(), m * k),
                ("out", self.out.len(), m * n),
                ("gate", self.gate.len(), n * k),
                ("up", self.up.len(), n * k),
            ],
        )?;
        sizes(kernel, [m, n, k])
    }
}

/// What a launch takes of each part.
struct Joint<'a> {
    out: [Option<&'a DeviceSliceMut<'a, f32>>; MAX_JOINT],
    /// Of each part.
    w: Vec<Weights<'a>>,
    bias: [Option<DeviceSlice<'a, f32>>; MAX_JOINT],
    n: [u32; MAX_JOINT],
}

impl<'a> Joint<'a> {
    fn new(
        (kernel, shape): (&Function, &SkinnyShape),
        parts: &'a [Part<'a>],
        [m, k]: [usize; 2],
    ) -> Result<Self> {
        if parts.is_empty() || parts.len() > MAX_JOINT {
            let reason = format!("{} products, not 1 to {MAX_JOINT}", parts.len());
            return Err(refused(kernel.name(), reason));
        }
        check_depth(kernel, k)?;
        let mut joint = Self {
            out: [None; MAX_JOINT],
            w: Vec::with_capacity(MAX_JOINT),
            bias: [None; MAX_JOINT],
            n: [0; MAX_JOINT],
        };
        for (i, part) in parts.iter().enumerate() {
            check_lengths(
                kernel,
                &[
                    ("out", part.out.len(), m * part.n),
                    ("w", part.w.len(), part.n * k),
                    ("bias", part.bias.map_or(part.n, |bias| bias.len()), part.n),
                ],
            )?;
            [joint.n[i]] = sizes(kernel, [part.n])?;
            joint.out[i] = Some(part.out);
            joint.w.push(Weights::new(shape, part.w, [part.n, k])?);
            joint.bias[i] = part.bias;
        }
        Ok(joint)
    }

    fn launch<'l>(&'l self, kernel: &'l Function, shape: SkinnyShape) -> Launch<'l> {
        let parts = self.n.iter().map(|n| n.div_ceil(shape.columns)).sum();
        let mut launch = launch(kernel, shape, parts);
        for out in self.out {
            launch = match out {
                Some(out) => launch.buffer_mut(out),
                None => launch.address(0),
            };
        }
        // A part without rows has any weights.
        for w in self
            .w
            .iter()
            .chain(self.w.first().into_iter().cycle())
            .take(MAX_JOINT)
        {
            launch = w.append(launch);
        }
        for bias in self.bias {
            launch = match bias {
                Some(bias) => launch.buffer(bias),
                None => launch.address(0),
            };
        }
        self.n.iter().fold(launch, |launch, n| launch.value(n))
    }
}
