//! Functions newer than cust's declarations, by the driver's own look-up.
//!
//! They are declared with plain numbers for results, so that codes of any
//! driver are sound.

use std::ffi::{CStr, c_char, c_void};
use std::mem::transmute;

use super::{CUfunction, CUstream, cuGetProcAddress, outcome};
use crate::driver::{DriverError, Result};

/// `CUlaunchConfig`.
#[repr(C)]
#[derive(Debug)]
pub(in crate::driver) struct LaunchConfig {
    /// Blocks in x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block in x, y and z.
    pub block: [u32; 3],
    /// Dynamic shared memory of a block, in bytes.
    pub shared_bytes: u32,
    /// Where it is queued.
    pub stream: CUstream,
    /// An array of attributes; null for none.
    pub attributes: *mut c_void,
    /// Its length.
    pub attribute_count: u32,
}

type LaunchKernelEx = unsafe extern "C" fn(
    *const LaunchConfig,
    CUfunction,
    *mut *mut c_void,
    *mut *mut c_void,
) -> u32;
type DescribeCode = unsafe extern "C" fn(u32, *mut *const c_char) -> u32;

/// The functions.
#[derive(Debug)]
pub(in crate::driver) struct Recent {
    /// `cuLaunchKernelEx`.
    pub launch_kernel_ex: LaunchKernelEx,
    /// `cuGetErrorName`, by number: cust's takes an enum that lacks new codes.
    pub get_error_name: DescribeCode,
    /// `cuGetErrorString`.
    pub get_error_string: DescribeCode,
}

impl Recent {
    /// Looks the functions up.
    pub(super) fn find() -> Result<Self> {
        let launch = look_up(c"cuLaunchKernelEx", 11_080)?;
        let name = look_up(c"cuGetErrorName", 6_000)?;
        let string = look_up(c"cuGetErrorString", 6_000)?;
        // SAFETY: these are the driver's declarations of the functions at the
        // versions asked for; a result enum is an unsigned 32-bit number.
        unsafe {
            Ok(Self {
                launch_kernel_ex: transmute::<*mut c_void, LaunchKernelEx>(launch),
                get_error_name: transmute::<*mut c_void, DescribeCode>(name),
                get_error_string: transmute::<*mut c_void, DescribeCode>(string),
            })
        }
    }
}

/// The function that `name` meant in CUDA `version`; never null.
pub(super) fn look_up(name: &'static CStr, version: i32) -> Result<*mut c_void> {
    let mut address = std::ptr::null_mut();
    // SAFETY: `name` is terminated, and one pointer is written.
    let result = unsafe { cuGetProcAddress(name.as_ptr(), &mut address, version, 0) };
    let lacking = |why: String| DriverError::DriverUnusable {
        reason: format!("it has no function {}{why}", name.to_string_lossy()),
    };
    outcome("cuGetProcAddress", result).map_err(|failure| lacking(format!(": {failure}")))?;
    if address.is_null() {
        return Err(lacking(String::new()));
    }
    Ok(address)
}
