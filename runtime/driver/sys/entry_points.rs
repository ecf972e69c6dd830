//! The driver's symbols that this program is linked with.
//!
//! Each is a hidden trampoline: it calls through a slot, which at first holds
//! [`not_loaded`], and passes a result other than success through
//! [`listed_code`]. Hidden symbols never leave a shared library, so a host
//! program's own libcuda is not shadowed.

use std::cell::Cell;
use std::ffi::{CStr, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};

/// Lists the functions: the only ones of cust's declarations that can be called.
/// None takes more arguments than registers hold, so a trampoline may push.
macro_rules! entry_points {
    ($($name:ident)+) => {
        pub(in crate::driver) use cust::sys::{$($name),+};

        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        #[repr(usize)]
        enum Entry { $($name),+ }

        const NAMES: [&CStr; [$(stringify!($name)),+].len()] =
            [$(symbol_name(concat!(stringify!($name), "\0"))),+];

        $(trampoline!($name);)+
    };
}

#[cfg(target_arch = "x86_64")]
macro_rules! trampoline {
    ($name:ident) => {
        std::arch::global_asm!(
            concat!(".pushsection .text.", stringify!($name), ",\"ax\",@progbits"),
            concat!(".globl ", stringify!($name)),
            concat!(".hidden ", stringify!($name)),
            concat!(".type ", stringify!($name), ",@function"),
            concat!(stringify!($name), ":"),
            ".cfi_startproc",
            "sub rsp, 8",
            ".cfi_def_cfa_offset 16",
            "call qword ptr [rip + {slots} + {offset}]",
            "add rsp, 8",
            ".cfi_def_cfa_offset 8",
            "mov edi, eax",
            "test eax, eax",
            "jne {listed}",
            "ret",
            ".cfi_endproc",
            concat!(".size ", stringify!($name), ", . - ", stringify!($name)),
            ".popsection",
            slots = sym SLOTS,
            offset = const Entry::$name as usize * size_of::<AtomicPtr<c_void>>(),
            listed = sym listed_code,
        );
    };
}

#[cfg(target_arch = "aarch64")]
macro_rules! trampoline {
    ($name:ident) => {
        std::arch::global_asm!(
            concat!(".pushsection .text.", stringify!($name), ",\"ax\",@progbits"),
            ".p2align 2",
            concat!(".globl ", stringify!($name)),
            concat!(".hidden ", stringify!($name)),
            concat!(".type ", stringify!($name), ",@function"),
            concat!(stringify!($name), ":"),
            ".cfi_startproc",
            "stp x29, x30, [sp, #-16]!",
            ".cfi_def_cfa_offset 16",
            ".cfi_offset x29, -16",
            ".cfi_offset x30, -8",
            "mov x29, sp",
            "adrp x16, {slots} + {offset}",
            "ldr x16, [x16, :lo12:{slots} + {offset}]",
            "blr x16",
            "ldp x29, x30, [sp], #16",
            ".cfi_def_cfa_offset 0",
            "cbz w0, 1f",
            "b {listed}",
            "1: ret",
            ".cfi_endproc",
            concat!(".size ", stringify!($name), ", . - ", stringify!($name)),
            ".popsection",
            slots = sym SLOTS,
            offset = const Entry::$name as usize * size_of::<AtomicPtr<c_void>>(),
            listed = sym listed_code,
        );
    };
}

entry_points! {
    cuInit cuDriverGetVersion cuGetProcAddress
    cuDeviceGetCount cuDeviceGet cuDeviceGetName cuDeviceTotalMem_v2 cuDeviceGetAttribute
    cuDevicePrimaryCtxRetain cuDevicePrimaryCtxRelease_v2
    cuCtxGetCurrent cuCtxPushCurrent_v2 cuCtxPopCurrent_v2 cuCtxSynchronize
    cuCtxGetStreamPriorityRange
    cuMemGetInfo_v2 cuMemAlloc_v2 cuMemFree_v2
    cuMemHostAlloc cuMemFreeHost cuMemHostRegister_v2 cuMemHostUnregister
    cuMemHostGetDevicePointer_v2
    cuMemcpyHtoDAsync_v2 cuMemcpyDtoHAsync_v2 cuMemcpyDtoDAsync_v2 cuMemsetD8Async
    cuStreamCreateWithPriority cuStreamDestroy_v2 cuStreamSynchronize cuStreamWaitEvent
    cuStreamBeginCapture_v2 cuStreamEndCapture
    cuEventCreate cuEventDestroy_v2 cuEventRecord cuEventQuery cuEventSynchronize
    cuEventElapsedTime
    cuModuleLoadDataEx cuModuleUnload cuModuleGetFunction
    cuFuncGetAttribute cuFuncSetAttribute cuOccupancyMaxActiveBlocksPerMultiprocessor
    cuGraphInstantiateWithFlags cuGraphDestroy cuGraphLaunch cuGraphExecDestroy
}

/// Where each trampoline goes, in the order of [`Entry`].
static SLOTS: [AtomicPtr<c_void>; NAMES.len()] =
    [const { AtomicPtr::new(not_loaded as *const () as *mut c_void) }; NAMES.len()];

thread_local! {
    /// The last result other than success on this thread, as the driver gave it.
    static LAST_CODE: Cell<u32> = const { Cell::new(0) };
}

const fn symbol_name(terminated: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(terminated.as_bytes()) {
        Ok(name) => name,
        Err(_) => c"",
    }
}

/// What every function does until a driver is there: `CUDA_ERROR_NOT_INITIALIZED`.
extern "C" fn not_loaded() -> u32 {
    3
}

/// Notes `code`, and folds codes that cust's enum lacks into
/// `CUDA_ERROR_UNKNOWN`: a value outside an enum is undefined behaviour, and
/// drivers newer than cust have such codes.
extern "C" fn listed_code(code: u32) -> u32 {
    LAST_CODE.set(code);
    match code {
        0..=8
        | 34
        | 100..=102
        | 200..=202
        | 205..=224
        | 300..=304
        | 400
        | 401
        | 500
        | 600
        | 700..=705
        | 708..=720
        | 800..=809
        | 900..=911 => code,
        _ => 999,
    }
}

/// The last result other than success on this thread, unfolded.
pub(in crate::driver) fn last_code() -> u32 {
    LAST_CODE.get()
}

/// Points every trampoline at what `find` has for its name.
///
/// # Errors
/// The name of the first function that `find` does not have; then no slot has
/// changed.
pub(super) fn fill(
    find: &dyn Fn(&CStr) -> Option<*mut c_void>,
) -> std::result::Result<(), &'static CStr> {
    let mut found = [std::ptr::null_mut(); NAMES.len()];
    for (address, name) in found.iter_mut().zip(NAMES) {
        *address = find(name).ok_or(name)?;
    }
    for (slot, address) in SLOTS.iter().zip(found) {
        slot.store(address, Ordering::Release);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_only_codes_that_the_enum_lacks() {
        for code in [2, 222, 719, 999] {
            assert_eq!(listed_code(code), code);
        }
        // CUDA_ERROR_CONTAINED, and a code of no driver yet.
        for code in [226, 70_000] {
            assert_eq!(listed_code(code), 999);
            assert_eq!(last_code(), code);
        }
    }

    #[test]
    fn an_incomplete_driver_changes_no_slot() {
        // So that no other test fills the slots meanwhile.
        let _ = super::super::driver();
        let before: Vec<_> = SLOTS.iter().map(|s| s.load(Ordering::Acquire)).collect();
        let missing = c"cuMemAlloc_v2";
        let find = |name: &CStr| (name != missing).then_some(std::ptr::null_mut());
        assert_eq!(fill(&find), Err(missing));
        let after: Vec<_> = SLOTS.iter().map(|s| s.load(Ordering::Acquire)).collect();
        assert_eq!(before, after);
    }
}
