//! The shape of a launch, and the limits that it must keep.

use super::{DeviceLimits, FunctionResources};

/// Blocks or threads in x, y and z.
type Extent = [u32; 3];

/// Blocks, threads of a block, and dynamic shared memory of a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub grid: Extent,
    pub block: Extent,
    pub shared_bytes: u32,
}

impl Shape {
    /// Compares with what the device and the kernel allow.
    ///
    /// # Errors
    /// The limit that is exceeded, in words.
    pub(super) fn check(
        &self,
        device: &DeviceLimits,
        kernel: &FunctionResources,
    ) -> Result<(), String> {
        check_extent("grid", self.grid, device.grid)?;
        check_extent("block", self.block, device.block)?;
        let threads = self.block.iter().map(|&n| u64::from(n)).product::<u64>();
        let allowed = device.threads_per_block.min(kernel.threads_per_block);
        if threads > u64::from(allowed) {
            return Err(format!(
                "block {:?} has {threads} threads, and the kernel allows {allowed} \
                 ({} registers a thread)",
                self.block, kernel.registers
            ));
        }
        let shared = u64::from(kernel.shared_bytes) + u64::from(self.shared_bytes);
        if shared > u64::from(device.shared_bytes) {
            return Err(format!(
                "{} static and {} dynamic bytes of shared memory, and the device has {}",
                kernel.shared_bytes, self.shared_bytes, device.shared_bytes
            ));
        }
        Ok(())
    }
}

fn check_extent(what: &str, extent: Extent, limit: Extent) -> Result<(), String> {
    let fits = extent
        .iter()
        .zip(limit)
        .all(|(&n, limit)| (1..=limit).contains(&n));
    if fits {
        return Ok(());
    }
    Err(format!("{what} {extent:?} is not within 1 to {limit:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: DeviceLimits = DeviceLimits {
        grid: [i32::MAX as u32, 65_535, 65_535],
        block: [1024, 1024, 64],
        threads_per_block: 1024,
        shared_bytes: 232_448,
    };
    const KERNEL: FunctionResources = FunctionResources {
        registers: 128,
        shared_bytes: 1024,
        local_bytes: 0,
        threads_per_block: 512,
    };

    fn check(grid: Extent, block: Extent, shared_bytes: u32) -> Result<(), String> {
        let shape = Shape {
            grid,
            block,
            shared_bytes,
        };
        shape.check(&DEVICE, &KERNEL)
    }

    #[test]
    fn shapes_up_to_the_limits_pass() {
        for (grid, block, shared) in [
            ([1, 1, 1], [1, 1, 1], 0),
            ([i32::MAX as u32, 65_535, 65_535], [512, 1, 1], 231_424),
            ([1, 1, 1], [2, 4, 64], 1),
        ] {
            check(grid, block, shared).unwrap();
        }
    }

    #[test]
    fn shapes_beyond_a_limit_are_refused_with_it() {
        for (grid, block, shared, expected) in [
            ([0, 1, 1], [32, 1, 1], 0, "grid [0, 1, 1]"),
            ([1, 65_536, 1], [32, 1, 1], 0, "65535"),
            ([u32::MAX, 1, 1], [32, 1, 1], 0, "2147483647"),
            ([1, 1, 1], [32, 0, 1], 0, "block [32, 0, 1]"),
            ([1, 1, 1], [1, 1, 65], 0, "64]"),
            ([1, 1, 1], [513, 1, 1], 0, "allows 512"),
            ([1, 1, 1], [1024, 1024, 64], 0, "67108864 threads"),
            ([1, 1, 1], [32, 1, 1], 231_425, "231425 dynamic"),
            ([1, 1, 1], [32, 1, 1], u32::MAX, "device has 232448"),
        ] {
            let message = check(grid, block, shared).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }
}
