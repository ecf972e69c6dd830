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
    /// An array of attributes.
    pub attributes: *mut LaunchAttribute,
    /// Its length.
    pub attribute_count: u32,
}

/// `CUlaunchAttribute`.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub(in crate::driver) struct LaunchAttribute {
    id: u32,
    padding: u32,
    value: [u32; 16],
}

impl LaunchAttribute {
    /// `CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION`: the kernel says
    /// itself when it needs what was queued before it.
    pub const OVERLAP: Self = {
        let mut value = [0; 16];
        value[0] = 1;
        Self {
            id: 6,
            padding: 0,
            value,
        }
    };
}

/// A matrix, and the box of it that one copy moves.
#[derive(Debug)]
pub(in crate::driver) struct TensorLayout {
    /// `CUtensorMapDataType`.
    pub element_type: u32,
    /// Columns and rows.
    pub sizes: [u64; 2],
    /// Bytes from one row to the next.
    pub row_bytes: u64,
    /// Columns and rows of the box.
    pub box_sizes: [u32; 2],
}

impl TensorLayout {
    /// `CU_TENSOR_MAP_DATA_TYPE_UINT16`: 16 bits of any kind.
    pub const UINT16: u32 = 1;
}

/// `cuTensorMapEncodeTiled`: map, type, rank, address, sizes, strides, box, strides of elements,
/// interleaving, swizzle, promotion in the L2 cache, what to read outside.
type EncodeTiled = unsafe extern "C" fn(
    *mut [u64; 16],
    u32,
    u32,
    *mut c_void,
    *const u64,
    *const u64,
    *const u32,
    *const u32,
    u32,
    u32,
    u32,
    u32,
) -> u32;

/// Encodes a map whose boxes have rows of 128 swizzled bytes.
#[derive(Clone, Copy, Debug)]
pub(in crate::driver) struct EncodeTensorMap(EncodeTiled);

impl EncodeTensorMap {
    /// Writes the map of the matrix at `address`, and gives the driver's code.
    pub fn encode(
        self,
        map: &mut TensorMapBits,
        address: *mut c_void,
        layout: &TensorLayout,
    ) -> u32 {
        const RANK: u32 = 2;
        const NOT_INTERLEAVED: u32 = 0;
        const SWIZZLE_128B: u32 = 3;
        const L2_256B: u32 = 3;
        const ZEROS_OUTSIDE: u32 = 0;
        // SAFETY: the map has its size and alignment, every array as many numbers as the rank asks
        // for; the address is not followed.
        unsafe {
            (self.0)(
                &mut map.0,
                layout.element_type,
                RANK,
                address,
                layout.sizes.as_ptr(),
                &layout.row_bytes,
                layout.box_sizes.as_ptr(),
                [1, 1].as_ptr(),
                NOT_INTERLEAVED,
                SWIZZLE_128B,
                L2_256B,
                ZEROS_OUTSIDE,
            )
        }
    }
}

/// `CUtensorMap`.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(in crate::driver) struct TensorMapBits(pub [u64; 16]);

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
    /// `cuTensorMapEncodeTiled`, which drivers before CUDA 12.0 lack.
    pub encode_tensor_map: Option<EncodeTensorMap>,
    /// `cuGetErrorName`, by number: cust's takes an enum that lacks new codes.
    pub get_error_name: DescribeCode,
    /// `cuGetErrorString`.
    pub get_error_string: DescribeCode,
}

impl Recent {
    /// Looks the functions up.
    pub(super) fn find() -> Result<Self> {
        let launch = look_up(c"cuLaunchKernelEx", 11_080)?;
        let encode = look_up(c"cuTensorMapEncodeTiled", 12_000).ok();
        let name = look_up(c"cuGetErrorName", 6_000)?;
        let string = look_up(c"cuGetErrorString", 6_000)?;
        // SAFETY: these are the driver's declarations of the functions at the
        // versions asked for; a result enum is an unsigned 32-bit number.
        unsafe {
            Ok(Self {
                launch_kernel_ex: transmute::<*mut c_void, LaunchKernelEx>(launch),
                encode_tensor_map: encode.map(|function| {
                    EncodeTensorMap(transmute::<*mut c_void, EncodeTiled>(function))
                }),
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
