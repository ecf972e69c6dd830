//! The machine's devices, and which context is current on a thread.
#![allow(non_snake_case)]

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int, c_void};

use super::{INVALID_VALUE, give, on_device};
use crate::driver::sys::CUdevice_attribute as Attribute;

const DEVICES: i32 = 2;
pub(super) const MEMORY: u64 = 8 << 30;

/// The device that has Hopper's instructions, and its memory.
const HOPPER: c_int = 1;

/// Shared memory that a block of a device may have.
pub(super) fn shared_bytes(device: c_int) -> u32 {
    match device {
        HOPPER => 232_448,
        _ => 101_376,
    }
}

/// The handle of device 0's context; the others' follow.
const FIRST_CONTEXT: usize = 0x1000;

thread_local! {
    static CONTEXTS: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// The device of the current context.
pub(super) fn current_device() -> Option<i32> {
    let context = CONTEXTS.with_borrow(|stack| stack.last().copied())?;
    i32::try_from(context - FIRST_CONTEXT).ok()
}

super::symbols! {
    cuInit cuDriverGetVersion cuGetProcAddress cuGetErrorName cuGetErrorString
    cuDeviceGetCount cuDeviceGet cuDeviceGetName cuDeviceTotalMem_v2 cuDeviceGetAttribute
    cuDevicePrimaryCtxRetain cuDevicePrimaryCtxRelease_v2
    cuCtxGetCurrent cuCtxPushCurrent_v2 cuCtxPopCurrent_v2
    cuCtxGetStreamPriorityRange
    cuProfilerStart cuProfilerStop
}

extern "C" fn cuInit(_flags: u32) -> u32 {
    0
}

extern "C" fn cuDriverGetVersion(version: *mut c_int) -> u32 {
    give(version, 12_040);
    0
}

extern "C" fn cuGetProcAddress(
    name: *const c_char,
    function: *mut *mut c_void,
    _version: c_int,
    _flags: u64,
) -> u32 {
    // SAFETY: the driver module passes a terminated name.
    let name = unsafe { CStr::from_ptr(name) };
    let found = super::symbol(name);
    give(function, found.unwrap_or(std::ptr::null_mut()));
    if found.is_some() { 0 } else { 500 }
}

extern "C" fn cuGetErrorName(code: u32, text: *mut *const c_char) -> u32 {
    let name = match code {
        1 => c"CUDA_ERROR_INVALID_VALUE",
        2 => c"CUDA_ERROR_OUT_OF_MEMORY",
        218 => c"CUDA_ERROR_INVALID_PTX",
        222 => c"CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
        400 => c"CUDA_ERROR_INVALID_HANDLE",
        719 => c"CUDA_ERROR_LAUNCH_FAILED",
        _ => return INVALID_VALUE,
    };
    give(text, name.as_ptr());
    0
}

extern "C" fn cuGetErrorString(_code: u32, text: *mut *const c_char) -> u32 {
    give(text, c"as the stand-in says".as_ptr());
    0
}

extern "C" fn cuDeviceGetCount(count: *mut c_int) -> u32 {
    give(count, DEVICES);
    0
}

extern "C" fn cuDeviceGet(device: *mut c_int, ordinal: c_int) -> u32 {
    give(device, ordinal);
    if (0..DEVICES).contains(&ordinal) {
        0
    } else {
        101
    }
}

extern "C" fn cuDeviceGetName(name: *mut c_char, room: c_int, _device: c_int) -> u32 {
    // As long as the room, and so without a terminator.
    // SAFETY: the driver module passes `room` bytes.
    unsafe { name.write_bytes(b'S', room as usize) };
    0
}

extern "C" fn cuDeviceTotalMem_v2(bytes: *mut usize, _device: c_int) -> u32 {
    give(bytes, MEMORY as usize);
    0
}

extern "C" fn cuDeviceGetAttribute(value: *mut c_int, attribute: Attribute, device: c_int) -> u32 {
    let (major, minor) = if device == HOPPER { (9, 0) } else { (8, 6) };
    let found = match attribute {
        Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR => major,
        Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR => minor,
        Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT => 4,
        Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE => 4 << 20,
        Attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X => i32::MAX,
        Attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y
        | Attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z => 65_535,
        Attribute::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X
        | Attribute::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y
        | Attribute::CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK => 1024,
        Attribute::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z => 64,
        Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN => {
            shared_bytes(device) as i32
        }
        Attribute::CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM => 1,
        _ => return INVALID_VALUE,
    };
    give(value, found);
    0
}

extern "C" fn cuDevicePrimaryCtxRetain(context: *mut usize, device: c_int) -> u32 {
    give(context, FIRST_CONTEXT + device as usize);
    0
}

extern "C" fn cuDevicePrimaryCtxRelease_v2(_device: c_int) -> u32 {
    0
}

extern "C" fn cuCtxGetCurrent(context: *mut usize) -> u32 {
    let top = CONTEXTS.with_borrow(|stack| stack.last().copied());
    give(context, top.unwrap_or(0));
    0
}

extern "C" fn cuCtxPushCurrent_v2(context: usize) -> u32 {
    CONTEXTS.with_borrow_mut(|stack| stack.push(context));
    0
}

extern "C" fn cuCtxPopCurrent_v2(context: *mut usize) -> u32 {
    let Some(top) = CONTEXTS.with_borrow_mut(Vec::pop) else {
        return super::INVALID_CONTEXT;
    };
    give(context, top);
    0
}

extern "C" fn cuProfilerStart() -> u32 {
    on_device(|_, _| Ok(()))
}

extern "C" fn cuProfilerStop() -> u32 {
    cuProfilerStart()
}

extern "C" fn cuCtxGetStreamPriorityRange(least: *mut c_int, greatest: *mut c_int) -> u32 {
    on_device(|_, _| {
        give(least, 0);
        give(greatest, -5);
        Ok(())
    })
}
