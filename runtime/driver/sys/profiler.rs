//! The functions that a profiler listens for, looked up when first used: nothing
//! else needs them.

use std::ffi::c_void;
use std::mem::transmute;
use std::sync::OnceLock;

use super::recent::look_up;
use super::{Code, Failure, library};
use crate::driver::Result;

/// `cuProfilerStart` and `cuProfilerStop`.
pub(in crate::driver) struct ProfilerFunctions {
    pub start: unsafe extern "C" fn() -> u32,
    pub stop: unsafe extern "C" fn() -> u32,
}

/// The driver's.
///
/// # Errors
/// [`crate::driver::DriverError`] without a driver, or for one that lacks them.
pub(in crate::driver) fn profiler_functions() -> Result<&'static ProfilerFunctions> {
    static FOUND: OnceLock<Result<ProfilerFunctions>> = OnceLock::new();
    FOUND.get_or_init(find).as_ref().map_err(Clone::clone)
}

fn find() -> Result<ProfilerFunctions> {
    library::driver()?;
    let start = look_up(c"cuProfilerStart", 4_000)?;
    let stop = look_up(c"cuProfilerStop", 4_000)?;
    // SAFETY: these are the driver's declarations of both; a result enum is an
    // unsigned 32-bit number.
    unsafe {
        Ok(ProfilerFunctions {
            start: transmute::<*mut c_void, unsafe extern "C" fn() -> u32>(start),
            stop: transmute::<*mut c_void, unsafe extern "C" fn() -> u32>(stop),
        })
    }
}

/// Turns the number that `call` returned into a `Result`.
pub(in crate::driver) fn outcome_of(
    call: &'static str,
    code: u32,
) -> std::result::Result<(), Failure> {
    match code {
        0 => Ok(()),
        code => Err(Failure {
            call,
            code: Code(code),
        }),
    }
}
