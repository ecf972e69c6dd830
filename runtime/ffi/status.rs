//! What a call answers.

use std::ffi::c_char;

/// What became of a call. `kcache_*_message()` of the handle that the call was
/// about has the text: which value, key, file, size or limit, and what to do.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum kcache_status {
    /// Done.
    Ok = 0,
    /// An argument is NULL, out of its range, or does not go with the others.
    /// Nothing was changed.
    InvalidArgument = 1,
    /// The files of a model are missing, damaged, contradictory, or of a kind
    /// that is not supported.
    Model = 2,
    /// The device or its driver refused something.
    Device = 3,
    /// The device was lost. Nothing that is on it can be used any more; handles
    /// can be freed.
    DeviceLost = 4,
    /// Memory of the device, pinned memory or memory of the host ran out.
    OutOfMemory = 5,
    /// The tokens do not fit the sequence's context. Nothing was changed.
    ContextFull = 6,
    /// A callback or kcache_context_cancel() asked for a stop.
    Cancelled = 7,
    /// The caller's buffer is too small; the size needed was written. Nothing
    /// else was changed.
    BufferTooSmall = 8,
    /// The handle is in use: by another thread, or by the call whose callback
    /// made this call. Nothing was changed.
    Busy = 9,
    /// The handle was made before a fork(), in another process. It can only be freed.
    Forked = 10,
    /// A fault in kcache itself. The handle can only be freed; others are unharmed.
    Internal = 11,
}

/// The name of a status, such as "KCACHE_STATUS_BUSY": a text that lives as long
/// as the program. An unknown number is answered by "unknown status".
#[unsafe(no_mangle)]
pub extern "C" fn kcache_status_name(status: i32) -> *const c_char {
    let name = match status {
        0 => c"KCACHE_STATUS_OK",
        1 => c"KCACHE_STATUS_INVALID_ARGUMENT",
        2 => c"KCACHE_STATUS_MODEL",
        3 => c"KCACHE_STATUS_DEVICE",
        4 => c"KCACHE_STATUS_DEVICE_LOST",
        5 => c"KCACHE_STATUS_OUT_OF_MEMORY",
        6 => c"KCACHE_STATUS_CONTEXT_FULL",
        7 => c"KCACHE_STATUS_CANCELLED",
        8 => c"KCACHE_STATUS_BUFFER_TOO_SMALL",
        9 => c"KCACHE_STATUS_BUSY",
        10 => c"KCACHE_STATUS_FORKED",
        11 => c"KCACHE_STATUS_INTERNAL",
        _ => c"unknown status",
    };
    name.as_ptr()
}
