//! Products, and what a pass of a few tokens computes in one launch with them.

use half::bf16;

use super::kernels::{Gated, MAX_JOINT, Part, Product};
use super::{Activation, Cuda, Matrix};
use crate::backend::{Backend, Norm, Projection};
use crate::driver::{DeviceBuffer, DeviceSlice, DeviceSliceMut};
use crate::{Result, driver};

impl Cuda {
    /// `out = x Wᵀ + b` for each of `projections`.
    pub(super) fn multiply(
        &self,
        x: &Activation,
        projections: &mut [Projection<'_, Self>],
    ) -> Result<()> {
        let kernels = &self.kernels.product;
        let joint = (2..=MAX_JOINT).contains(&projections.len());
        if joint && all(x.rows, projections, |size| kernels.fuses(size)) {
            let multiply = |halves: DeviceSlice<'_, bf16>| {
                let x = (halves, x.rows, x.width);
                with_parts(projections, |parts| kernels.joint(parts, x, &self.stream))
            };
            return self.launch(|| self.with_halves(x, multiply));
        }
        let multiply = |halves: DeviceSlice<'_, bf16>| {
            for projection in projections {
                let with = (projection.weight, projection.bias);
                let out = projection.out.write_floats()?;
                let product = product((halves, x.rows), with, &out);
                kernels.multiply(&product, &self.stream)?;
            }
            Ok(())
        };
        self.launch(|| self.with_halves(x, multiply))
    }

    /// `residual += x Wᵀ + b`.
    pub(super) fn multiply_adding(
        &self,
        residual: &mut Activation,
        x: &Activation,
        mut projection: Projection<'_, Self>,
    ) -> Result<()> {
        let kernels = &self.kernels.product;
        let one = std::slice::from_mut(&mut projection);
        if !all(x.rows, one, |size| kernels.extends(size)) {
            self.multiply(x, one)?;
            return self.add(residual, projection.out);
        }
        let out = residual.floats_in_place()?;
        let multiply = |halves: DeviceSlice<'_, bf16>| {
            let with = (projection.weight, projection.bias);
            let product = product((halves, x.rows), with, &out);
            Ok(kernels.add(&product, &self.stream)?)
        };
        self.launch(|| self.with_halves(x, multiply))
    }

    /// `gate.out = silu(x Wgᵀ) * (x Wuᵀ)` of `x`, normalised.
    pub(super) fn multiply_gated(
        &self,
        x: &Activation,
        norm: Norm<'_, Self>,
        normed: &mut Activation,
        mut both: [Projection<'_, Self>; 2],
    ) -> Result<()> {
        let kernels = &self.kernels.product;
        self.rms_norm(x, norm.weight, norm.eps, normed)?;
        let has_bias = both.iter().any(|projection| projection.bias.is_some());
        if has_bias || !all(x.rows, &both, |size| kernels.extends(size)) {
            self.multiply(normed, &mut both)?;
            let [gate, up] = both;
            return self.swiglu(gate.out, up.out);
        }
        let [gate, up] = both;
        let gated = Gated {
            out: &gate.out.write_halves()?,
            gate: gate.weight.data.as_slice(),
            up: up.weight.data.as_slice(),
            m: x.rows,
            n: gate.weight.rows,
            k: gate.weight.cols,
        };
        let multiply =
            |halves: DeviceSlice<'_, bf16>| Ok(kernels.gated(&gated, halves, &self.stream)?);
        self.launch(|| self.with_halves(normed, multiply))
    }
}

/// Whether the sizes `[m, n, k]` of all of `projections` of `m` rows are such.
fn all(m: usize, projections: &[Projection<'_, Cuda>], such: impl Fn([usize; 3]) -> bool) -> bool {
    let mut weights = projections.iter().map(|projection| projection.weight);
    weights.all(|weight| such([m, weight.rows, weight.cols]))
}

/// The product of so many rows with a weight.
fn product<'a>(
    (x, m): (DeviceSlice<'a, bf16>, usize),
    (weight, bias): (&'a Matrix, Option<&'a DeviceBuffer<f32>>),
    out: &'a DeviceSliceMut<'a, f32>,
) -> Product<'a> {
    Product {
        out,
        x,
        w: weight.data.as_slice(),
        bias: bias.map(DeviceBuffer::as_slice),
        m,
        n: weight.rows,
        k: weight.cols,
    }
}

/// Calls `multiply` with what a launch takes of each of `projections`.
fn with_parts(
    projections: &mut [Projection<'_, Cuda>],
    multiply: impl FnOnce(&[Part<'_>]) -> driver::Result<()>,
) -> Result<()> {
    let mut outs: Vec<DeviceSliceMut<'_, f32>> = Vec::with_capacity(projections.len());
    let mut weights = Vec::with_capacity(projections.len());
    for projection in projections {
        weights.push((projection.weight, projection.bias));
        outs.push(projection.out.write_floats()?);
    }
    let parts = outs.iter().zip(weights).map(|(out, (weight, bias))| Part {
        out,
        w: weight.data.as_slice(),
        bias: bias.map(DeviceBuffer::as_slice),
        n: weight.rows,
    });
    Ok(multiply(&parts.collect::<Vec<_>>())?)
}
