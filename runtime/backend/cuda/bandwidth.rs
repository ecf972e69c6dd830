//! The rates of a device's memory and of its link to the host's.

use std::time::Instant;

use super::Cuda;
use crate::Result;
use crate::backend::Bandwidth;
use crate::driver::{DeviceBuffer, PinnedBuffer};

/// Bytes that a copy within the device reads, and writes elsewhere: far more
/// than its cache.
const NEAR: usize = 512 << 20;
/// Bytes that a copy from the host moves.
const LINK: usize = 128 << 20;
/// Copies that are timed together.
const COPIES: usize = 8;

impl Cuda {
    /// A copy within the device counts twice: it reads and writes.
    pub(super) fn copy_bandwidth(&self) -> Result<Bandwidth> {
        let free = self.context.memory_info()?.free;
        let near = NEAR.min((free / 4) as usize).max(1);
        let link = LINK.min(near);
        let source = DeviceBuffer::<u8>::zeroed(&self.stream, "bandwidth", near)?;
        let mut target = DeviceBuffer::<u8>::new(&self.context, "bandwidth", near)?;
        let mut host = PinnedBuffer::<u8>::new(&self.context, "bandwidth", link)?;
        let within = self.seconds(|| {
            let mut target = target.as_mut_slice();
            Ok(target.copy_from(source.as_slice(), &self.stream)?)
        })?;
        let across = self.seconds(|| {
            let mut target = target.slice_mut(0..link)?;
            Ok(host.copy_to_device(0..link, &mut target, &self.stream)?)
        })?;
        Ok(Bandwidth {
            near: 2.0 * near as f64 / within,
            link: Some(link as f64 / across),
        })
    }

    /// Time of one of many copies, after one that is not timed.
    fn seconds(&self, mut copy: impl FnMut() -> Result<()>) -> Result<f64> {
        copy()?;
        self.stream.synchronize()?;
        let start = Instant::now();
        for _ in 0..COPIES {
            copy()?;
        }
        self.stream.synchronize()?;
        Ok(start.elapsed().as_secs_f64() / COPIES as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Backend;
    use crate::driver::Device;

    #[test]
    fn both_rates_are_measured() {
        let device = Device::open(0).unwrap_or_else(|e| panic!("{e}"));
        let cuda = Cuda::new(device).unwrap_or_else(|e| panic!("{e}"));
        let bandwidth = cuda.bandwidth().unwrap_or_else(|e| panic!("{e}"));
        println!("{bandwidth:?}");
        let rates = [Some(bandwidth.near), bandwidth.link];
        assert!(
            rates
                .iter()
                .all(|rate| rate.is_some_and(|r| r.is_finite() && r > 1e6))
        );
    }
}
