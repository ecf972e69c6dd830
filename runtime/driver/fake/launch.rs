//! Modules, functions and launches.
#![allow(non_snake_case)]

use std::ffi::{CStr, c_char, c_int, c_void};

use cuda_std::emulation::{Argument, TensorLayout};

use super::kernels::parameters;
use super::machine::shared_bytes;
use super::queue::{Call, submit};
use super::{INVALID_HANDLE, INVALID_VALUE, give, on_device};
use crate::driver::sys::{CUfunction_attribute as Attribute, CUjit_option as Jit, LaunchConfig};

/// A function, and the dynamic shared memory that it may have.
pub(super) struct Kernel {
    name: String,
    shared_limit: u32,
}

super::symbols! {
    cuModuleLoadDataEx cuModuleUnload cuModuleGetFunction
    cuFuncGetAttribute cuFuncSetAttribute cuOccupancyMaxActiveBlocksPerMultiprocessor
    cuLaunchKernelEx cuTensorMapEncodeTiled
}

extern "C" fn cuModuleLoadDataEx(
    module: *mut usize,
    image: *const c_char,
    count: u32,
    names: *const Jit,
    values: *const *mut c_void,
) -> u32 {
    // SAFETY: the driver module passes a terminated text and `count` options.
    let (text, names, values) = unsafe {
        (
            CStr::from_ptr(image).to_string_lossy(),
            std::slice::from_raw_parts(names, count as usize),
            std::slice::from_raw_parts(values, count as usize),
        )
    };
    let option = |name| names.iter().position(|&n| n == name).map(|i| values[i]);
    on_device(|state, _| {
        let line_info = option(Jit::CU_JIT_GENERATE_LINE_INFO);
        assert_eq!(line_info.map(|p| p as usize), Some(1));
        if text.contains(".version 99") {
            return Err(222);
        }
        if text.contains("nonsense") {
            let log = option(Jit::CU_JIT_ERROR_LOG_BUFFER).ok_or(INVALID_VALUE)?;
            let room = option(Jit::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES).ok_or(INVALID_VALUE)?;
            let message = b"line 36: unknown modifier .nonsense\0";
            assert!(message.len() <= room as usize);
            // SAFETY: the buffer has `room` bytes.
            unsafe { log.cast::<u8>().copy_from(message.as_ptr(), message.len()) };
            return Err(218);
        }
        let handle = state.handle();
        state.modules.insert(handle, text.into_owned());
        give(module, handle);
        Ok(())
    })
}

extern "C" fn cuModuleUnload(module: usize) -> u32 {
    on_device(|state, _| {
        state
            .modules
            .remove(&module)
            .map(drop)
            .ok_or(INVALID_HANDLE)
    })
}

extern "C" fn cuModuleGetFunction(function: *mut usize, module: usize, name: *const c_char) -> u32 {
    // SAFETY: the driver module passes a terminated name.
    let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
    on_device(|state, _| {
        let text = state.modules.get(&module).ok_or(INVALID_HANDLE)?;
        if name.is_empty() || !text.contains(&format!(".entry {name}(")) {
            return Err(500);
        }
        let kernel = Kernel {
            name: name.into_owned(),
            shared_limit: 48 << 10,
        };
        let handle = state.handle();
        state.functions.insert(handle, kernel);
        give(function, handle);
        Ok(())
    })
}

extern "C" fn cuFuncGetAttribute(value: *mut c_int, attribute: Attribute, _function: usize) -> u32 {
    let found = match attribute {
        Attribute::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK => 1024,
        Attribute::CU_FUNC_ATTRIBUTE_NUM_REGS => 16,
        _ => 0,
    };
    on_device(|_, _| {
        give(value, found);
        Ok(())
    })
}

extern "C" fn cuFuncSetAttribute(function: usize, attribute: Attribute, value: c_int) -> u32 {
    on_device(|state, device| {
        let dynamic = Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        if attribute != dynamic || value > shared_bytes(device) as i32 {
            return Err(INVALID_VALUE);
        }
        let kernel = state.functions.get_mut(&function).ok_or(INVALID_HANDLE)?;
        kernel.shared_limit = value as u32;
        Ok(())
    })
}

extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessor(
    blocks: *mut c_int,
    _function: usize,
    threads: c_int,
    bytes: usize,
) -> u32 {
    on_device(|_, device| {
        let by_memory = shared_bytes(device) as usize / bytes.max(1024);
        give(blocks, (1536 / threads).min(by_memory as c_int));
        Ok(())
    })
}

extern "C" fn cuLaunchKernelEx(
    config: *const LaunchConfig,
    function: usize,
    arguments: *const *const u8,
    _extra: *const c_void,
) -> u32 {
    // SAFETY: the driver module passes one configuration.
    let config = unsafe { &*config };
    on_device(|state, device| {
        let kernel = state.functions.get(&function).ok_or(INVALID_HANDLE)?;
        if config.shared_bytes > kernel.shared_limit {
            return Err(INVALID_VALUE);
        }
        let copy = |(i, &size): (usize, &usize)| {
            // SAFETY: the kernel has this parameter, of this size.
            unsafe { std::slice::from_raw_parts(*arguments.add(i), size) }.to_vec()
        };
        let call = Call {
            kernel: kernel.name.clone(),
            grid: config.grid,
            block: config.block,
            shared_bytes: config.shared_bytes,
            arguments: parameters(&kernel.name)
                .iter()
                .enumerate()
                .map(copy)
                .collect(),
        };
        submit(state, device, config.stream as usize, call)
    })
}

/// Writes the map that the emulation reads, of what `EncodeTensorMap` asks for.
#[allow(clippy::too_many_arguments)]
extern "C" fn cuTensorMapEncodeTiled(
    map: *mut [u8; 128],
    element_type: u32,
    rank: u32,
    address: u64,
    sizes: *const [u64; 2],
    row_bytes: *const u64,
    box_sizes: *const [u32; 2],
    element_strides: *const [u32; 2],
    interleaving: u32,
    swizzle: u32,
    _promotion: u32,
    outside: u32,
) -> u32 {
    // SAFETY: the driver module passes two numbers for each of two axes, and one stride.
    let ([columns, rows], row_bytes, [box_columns, box_rows], strides) =
        unsafe { (*sizes, *row_bytes, *box_sizes, *element_strides) };
    let layout = TensorLayout {
        address,
        rows: rows as u32,
        columns: columns as u32,
        row_bytes,
        box_rows,
    };
    let form = [
        element_type,
        rank,
        box_columns,
        interleaving,
        swizzle,
        outside,
    ];
    // As the driver, though nothing of the device is asked for.
    on_device(|_, _| {
        let encoded = layout.encode().map(Argument::to_bytes);
        match encoded.as_deref().map(<[u8; 128]>::try_from) {
            Ok(Ok(bytes)) if form == [1, 2, 64, 0, 3, 0] && strides == [1, 1] => {
                give(map, bytes);
                Ok(())
            }
            _ => Err(INVALID_VALUE),
        }
    })
}
