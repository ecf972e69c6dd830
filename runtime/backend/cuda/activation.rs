//! Rows of tokens on the device.

use std::sync::atomic::{AtomicU64, Ordering};

use half::bf16;

use crate::driver::{Context, DeviceBuffer, DeviceSlice, DeviceSliceMut};
use crate::{Error, Result};

/// `[rows, width]`, in the form that the last operation left: products and the
/// residual stream are `f32`, what a product or attention reads is `bf16`.
pub struct Activation {
    pub(super) width: usize,
    pub(super) rows: usize,
    pub(super) form: Form,
    context: Context,
    floats: DeviceBuffer<f32>,
    halves: DeviceBuffer<bf16>,
}

/// Where the content is.
pub(super) enum Form {
    Floats,
    Halves,
    /// In the halves, rotated; the floats are still as they were.
    Rotated,
}

impl Activation {
    pub(super) fn new(context: &Context, width: usize) -> Result<Self> {
        Ok(Self {
            width,
            rows: 0,
            form: Form::Floats,
            context: context.clone(),
            floats: DeviceBuffer::new(context, "activations", 0)?,
            halves: DeviceBuffer::new(context, "activations", 0)?,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.rows * self.width
    }

    /// The floats, which a rotation leaves as they were before it.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if only rounded values are there.
    pub(super) fn floats(&self) -> Result<DeviceSlice<'_, f32>> {
        match self.form {
            Form::Halves => Err(Error::InvalidArgument(
                "this operation takes activations that were not rounded to bf16".into(),
            )),
            _ => Ok(self.floats.slice(0..self.len())?),
        }
    }

    /// The floats, to change in place.
    ///
    /// # Errors
    /// As [`Activation::floats`].
    pub(super) fn floats_in_place(&mut self) -> Result<DeviceSliceMut<'_, f32>> {
        self.floats()?;
        Ok(self.floats.slice_mut(0..self.rows * self.width)?)
    }

    /// The rounded values, if that is the form.
    pub(super) fn halves(&self) -> Result<Option<DeviceSlice<'_, bf16>>> {
        match self.form {
            Form::Floats => Ok(None),
            _ => Ok(Some(self.halves.slice(0..self.len())?)),
        }
    }

    /// Room for floats, which become the content.
    pub(super) fn write_floats(&mut self) -> Result<DeviceSliceMut<'_, f32>> {
        let len = self.len();
        reserve(&mut self.floats, &self.context, "activations", len)?;
        self.form = Form::Floats;
        Ok(self.floats.slice_mut(0..len)?)
    }

    /// Room for rounded values, which become the content.
    pub(super) fn write_halves(&mut self) -> Result<DeviceSliceMut<'_, bf16>> {
        let len = self.len();
        reserve(&mut self.halves, &self.context, "activations", len)?;
        self.form = Form::Halves;
        Ok(self.halves.slice_mut(0..len)?)
    }

    /// The floats, and room for the rounded values that will take their place
    /// once [`Activation::form`] says so.
    ///
    /// # Errors
    /// As [`Activation::floats`].
    pub(super) fn floats_to_halves(
        &mut self,
    ) -> Result<(DeviceSlice<'_, f32>, DeviceSliceMut<'_, bf16>)> {
        let len = self.len();
        reserve(&mut self.halves, &self.context, "activations", len)?;
        self.floats()?;
        Ok((self.floats.slice(0..len)?, self.halves.slice_mut(0..len)?))
    }
}

/// Buffers that were replaced by larger ones: what holds the address of one must
/// look whether this has changed.
pub(super) static REPLACED: AtomicU64 = AtomicU64::new(0);

/// Replaces `buffer` by one of at least `len` elements, if it has fewer. The
/// content is lost.
pub(super) fn reserve<T: bytemuck::Pod>(
    buffer: &mut DeviceBuffer<T>,
    context: &Context,
    what: &str,
    len: usize,
) -> Result<()> {
    if buffer.len() < len {
        REPLACED.fetch_add(1, Ordering::Relaxed);
        *buffer = DeviceBuffer::new(context, what, len)?;
    }
    Ok(())
}
