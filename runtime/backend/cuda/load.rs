//! Weights on their way to the device: read once, widened, checked, rounded.

use half::bf16;
use kcache_models::{Tensor, quant};
use rayon::prelude::*;

use crate::driver::{DeviceBuffer, Stream};
use crate::{Error, Result};

/// Elements that are brought over at once.
const PANEL: usize = 16 << 20;

/// Products read 8 elements at a time.
const ALIGNMENT: usize = 8;

/// A weight matrix in bf16.
pub struct Matrix {
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) data: DeviceBuffer<bf16>,
}

/// Brings a matrix over as bf16.
///
/// # Errors
/// [`Error::Model`] naming the tensor, for a width that is not of whole 8 and for
/// the first row with NaN, infinity, or a value that exceeds bf16; driver errors.
pub(super) fn matrix(tensor: &Tensor, stream: &Stream) -> Result<Matrix> {
    let (rows, cols) = (tensor.rows(), tensor.cols());
    if cols == 0 || !cols.is_multiple_of(ALIGNMENT) {
        let message = format!("rows of {cols} elements: a GPU needs a multiple of {ALIGNMENT}");
        return Err(tensor.error(message).into());
    }
    let mut data = DeviceBuffer::new(stream.context(), tensor.name(), rows * cols)?;
    let panel_rows = (PANEL / cols).max(1);
    let mut panel = host_vec(panel_rows.min(rows) * cols, bf16::ZERO)?;
    for first in (0..rows).step_by(panel_rows) {
        let last = rows.min(first + panel_rows);
        let panel = &mut panel[..(last - first) * cols];
        round_rows(tensor, first, panel)?;
        let mut target = data.slice_mut(first * cols..last * cols)?;
        target.copy_from_host(panel, stream)?;
    }
    Ok(Matrix { rows, cols, data })
}

/// Brings a norm's weight or a bias over as f32.
///
/// # Errors
/// As [`matrix`].
pub(super) fn vector(tensor: &Tensor, stream: &Stream) -> Result<DeviceBuffer<f32>> {
    let mut floats = host_vec(tensor.rows() * tensor.cols(), 0.0f32)?;
    quant::dequantize(tensor.dtype(), tensor.bytes(), &mut floats);
    if !floats.iter().all(|x| x.is_finite()) {
        return Err(tensor.error("it holds NaN or infinity").into());
    }
    Ok(DeviceBuffer::from_host(stream, tensor.name(), &floats)?)
}

/// Rounds the rows from `first` on into `panel`.
fn round_rows(tensor: &Tensor, first: usize, panel: &mut [bf16]) -> Result<()> {
    let bytes = &tensor.bytes()[first * tensor.row_bytes()..];
    let broken = panel
        .par_chunks_exact_mut(tensor.cols())
        .zip(bytes.par_chunks_exact(tensor.row_bytes()))
        .enumerate()
        .map_init(
            || vec![0.0; tensor.cols()],
            |floats, (row, (rounded, bytes))| {
                quant::dequantize(tensor.dtype(), bytes, floats);
                let mut finite = true;
                for (rounded, x) in rounded.iter_mut().zip(floats) {
                    *rounded = bf16::from_f32(*x);
                    finite &= rounded.is_finite();
                }
                (!finite).then_some(first + row)
            },
        )
        .find_map_first(|broken| broken);
    match broken {
        Some(row) => Err(tensor
            .error(format!(
                "row {row} holds NaN, infinity, or a value that bf16 cannot hold"
            ))
            .into()),
        None => Ok(()),
    }
}

fn host_vec<T: Clone>(len: usize, value: T) -> Result<Vec<T>> {
    let mut vec = Vec::new();
    vec.try_reserve_exact(len).map_err(|_| Error::OutOfMemory {
        what: "weights on their way to the device".into(),
        bytes: (len * size_of::<T>()) as u64,
        available: None,
    })?;
    vec.resize(len, value);
    Ok(vec)
}
