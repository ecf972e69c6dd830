//! The devices of the machine, and what each allows.

use std::fmt;

use super::sys::{
    self, CUdevice, CUdevice_attribute as Attribute, Failure, cuDeviceGet, cuDeviceGetAttribute,
    cuDeviceGetCount, cuDeviceGetName, cuDeviceTotalMem_v2, outcome,
};
use super::{DriverError, Result};

/// The oldest device that runs the kernels.
const OLDEST: Capability = Capability { major: 8, minor: 0 };

/// A compute capability, which names a generation of devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability {
    /// The generation: 8 is Ampere, 9 is Hopper.
    pub major: u32,
    /// The member of the generation.
    pub minor: u32,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What a launch on a device may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceLimits {
    /// Blocks of a grid in x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block in x, y and z.
    pub block: [u32; 3],
    /// Threads of a block.
    pub threads_per_block: u32,
    /// Shared memory of a block in bytes, for kernels that opt in above 48 KiB.
    pub shared_bytes: u32,
}

/// A CUDA device, as its driver describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its number, as in `cuda:0`.
    pub ordinal: u32,
    /// Its product name.
    pub name: String,
    /// Its generation.
    pub capability: Capability,
    /// Device memory in bytes, used or not.
    pub total_bytes: u64,
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
    /// Level-2 cache in bytes.
    pub l2_bytes: u64,
    /// What a launch may ask for.
    pub limits: DeviceLimits,
    /// Whether kernels reach registered host memory at its host address.
    pub(super) host_addresses: bool,
    pub(super) handle: CUdevice,
}

impl Device {
    /// How many devices there are.
    ///
    /// # Errors
    /// As [`Device::open`] where there is no driver.
    pub fn count() -> Result<u32> {
        sys::driver()?;
        let mut count = 0;
        // SAFETY: writes one integer.
        let result = unsafe { cuDeviceGetCount(&mut count) };
        outcome("cuDeviceGetCount", result).map_err(unusable)?;
        Ok(u32::try_from(count).unwrap_or(0))
    }

    /// Describes device `ordinal`.
    ///
    /// # Errors
    /// [`DriverError::NoDriver`], [`DriverError::DriverTooOld`],
    /// [`DriverError::DriverUnusable`], [`DriverError::NoDevice`] or
    /// [`DriverError::NoSuchDevice`].
    pub fn open(ordinal: u32) -> Result<Self> {
        let count = Self::count()?;
        if ordinal >= count {
            return Err(DriverError::NoSuchDevice { ordinal, count });
        }
        describe(ordinal).map_err(unusable)
    }

    /// Every device, the supported ones and others.
    ///
    /// # Errors
    /// As [`Device::open`].
    pub fn all() -> Result<Vec<Self>> {
        (0..Self::count()?).map(Self::open).collect()
    }

    /// The newest CUDA that the driver supports.
    ///
    /// # Errors
    /// As [`Device::open`] where there is no driver.
    pub fn cuda_version() -> Result<sys::CudaVersion> {
        Ok(sys::driver()?.version)
    }

    /// Refuses a device that is too old for the kernels.
    ///
    /// # Errors
    /// [`DriverError::DeviceUnsupported`].
    pub fn supported(self) -> Result<Self> {
        if self.capability < OLDEST {
            return Err(DriverError::DeviceUnsupported {
                device: self.to_string(),
                found: self.capability,
                needed: OLDEST,
            });
        }
        Ok(self)
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cuda:{} ({})", self.ordinal, self.name)
    }
}

fn unusable(failure: Failure) -> DriverError {
    DriverError::DriverUnusable {
        reason: failure.to_string(),
    }
}

fn describe(ordinal: u32) -> Result<Device, Failure> {
    let mut handle: CUdevice = 0;
    // SAFETY: writes one handle.
    let result = unsafe { cuDeviceGet(&mut handle, i32::try_from(ordinal).unwrap_or(-1)) };
    outcome("cuDeviceGet", result)?;
    let mut total = 0;
    // SAFETY: writes one size.
    let result = unsafe { cuDeviceTotalMem_v2(&mut total, handle) };
    outcome("cuDeviceTotalMem", result)?;
    let get = |attribute| attribute_of(handle, attribute);
    Ok(Device {
        ordinal,
        name: name_of(handle)?,
        capability: Capability {
            major: get(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            minor: get(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        },
        total_bytes: total as u64,
        multiprocessors: get(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        l2_bytes: get(Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)?.into(),
        limits: DeviceLimits {
            grid: [
                get(Attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X)?,
                get(Attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y)?,
                get(Attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z)?,
            ],
            block: [
                get(Attribute::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X)?,
                get(Attribute::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y)?,
                get(Attribute::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z)?,
            ],
            threads_per_block: get(Attribute::CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK)?,
            shared_bytes: get(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?,
        },
        host_addresses: get(
            Attribute::CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM,
        )? != 0,
        handle,
    })
}

fn attribute_of(device: CUdevice, attribute: Attribute) -> Result<u32, Failure> {
    let mut value = 0;
    // SAFETY: writes one integer.
    let result = unsafe { cuDeviceGetAttribute(&mut value, attribute, device) };
    outcome("cuDeviceGetAttribute", result)?;
    Ok(u32::try_from(value).unwrap_or(0))
}

fn name_of(device: CUdevice) -> Result<String, Failure> {
    let mut name = [0u8; 256];
    let room = name.len() as i32;
    // SAFETY: writes at most `room` bytes.
    let result = unsafe { cuDeviceGetName(name.as_mut_ptr().cast(), room, device) };
    outcome("cuDeviceGetName", result)?;
    let len = name.iter().position(|&b| b == 0).unwrap_or(name.len());
    Ok(String::from_utf8_lossy(&name[..len]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_described() {
        let device = Device::open(0).unwrap();
        assert!(!device.name.is_empty());
        assert_eq!(device.to_string(), format!("cuda:0 ({})", device.name));
        assert!(device.capability.major >= 5, "{}", device.capability);
        assert!(device.total_bytes > 1 << 30);
        assert!(device.limits.shared_bytes >= 48 << 10);
        assert_eq!(device.limits.block[0], 1024);
        assert!(device.limits.grid[0] >= 65_535);
        assert_eq!(device.clone().supported().unwrap(), device);
    }

    #[test]
    fn a_device_beyond_the_last_is_refused_with_the_count() {
        let count = Device::count().unwrap();
        let message = Device::open(count).unwrap_err().to_string();
        assert!(message.contains(&format!("cuda:{count}")), "{message}");
        assert!(message.contains(&format!("has {count}")), "{message}");
        assert_eq!(Device::all().unwrap().len(), count as usize);
    }

    #[test]
    fn an_old_device_is_refused_with_both_capabilities() {
        let mut device = Device::open(0).unwrap();
        device.capability = Capability { major: 7, minor: 5 };
        let message = device.supported().unwrap_err().to_string();
        assert!(message.contains("7.5"), "{message}");
        assert!(message.contains("8.0"), "{message}");
    }
}
