//! The angles of all positions, on the device.

use kcache_models::config::{ModelConfig, RopeStyle};

use crate::driver::{DeviceBuffer, Stream};
use crate::{Error, Result};

/// Cosines and sines of every position of a model.
pub struct RopeTable {
    pub(super) style: RopeStyle,
    pub(super) head_dim: usize,
    /// `[max_position, head_dim]`: the cosines of a position, then its sines.
    pub(super) angles: DeviceBuffer<f32>,
}

impl RopeTable {
    /// An angle is position × frequency, multiplied in f64.
    pub(super) fn new(config: &ModelConfig, stream: &Stream) -> Result<Self> {
        let frequencies = config.rope.frequencies(config.head_dim);
        let mut angles = Vec::new();
        let len = config.max_position.saturating_mul(config.head_dim);
        angles
            .try_reserve_exact(len)
            .map_err(|_| Error::OutOfMemory {
                what: format!("the angles of {} positions", config.max_position),
                bytes: (len as u64).saturating_mul(4),
                available: None,
            })?;
        for position in 0..config.max_position {
            let angle = |f: &f32| position as f64 * f64::from(*f);
            angles.extend(frequencies.iter().map(|f| angle(f).cos() as f32));
            angles.extend(frequencies.iter().map(|f| angle(f).sin() as f32));
        }
        Ok(Self {
            style: config.rope.style,
            head_dim: config.head_dim,
            angles: DeviceBuffer::from_host(stream, "rotary angles", &angles)?,
        })
    }

    /// Positions as kernels take them.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for one that the table lacks.
    pub(super) fn positions(&self, positions: &[usize]) -> Result<Vec<u32>> {
        let count = self.angles.len() / self.head_dim;
        if let Some(far) = positions.iter().find(|&&p| p >= count) {
            return Err(Error::InvalidArgument(format!(
                "position {far}: the model has {count}"
            )));
        }
        Ok(positions.iter().map(|&p| p as u32).collect())
    }
}
