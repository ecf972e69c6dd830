//! Small lists of numbers that kernels read, brought over once while they stay
//! the same: positions and lengths are those of the step, in every layer.

use std::sync::{Arc, Mutex, PoisonError};

use crate::driver::{DeviceBuffer, Result, Stream};

/// Lists that are kept.
const KEPT: usize = 32;

type Upload = (Vec<u32>, Arc<DeviceBuffer<u32>>);

/// The lists brought over lately.
#[derive(Default)]
pub(super) struct Uploads(Mutex<Vec<Upload>>);

impl Uploads {
    /// `list` on the device.
    pub fn get(&self, list: &[u32], stream: &Stream) -> Result<Arc<DeviceBuffer<u32>>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(i) = kept.iter().position(|(other, _)| other == list) {
            let found = kept.remove(i);
            let buffer = found.1.clone();
            kept.push(found);
            return Ok(buffer);
        }
        let buffer = Arc::new(DeviceBuffer::from_host(stream, "a list of numbers", list)?);
        if kept.len() == KEPT {
            kept.remove(0);
        }
        kept.push((list.to_vec(), buffer.clone()));
        Ok(buffer)
    }
}
