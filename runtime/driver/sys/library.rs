//! Opens the driver once.

use std::error::Error;
use std::ffi::{CStr, c_char, c_void};
use std::fmt;
use std::sync::OnceLock;

use libloading::Library;

use super::recent::Recent;
use super::{CUresult, Code, Failure, cuDriverGetVersion, cuInit, entry_points, outcome};
use crate::driver::{DriverError, Result};

/// What the driver's package installs, on every Linux.
#[cfg(any(not(test), feature = "gpu-tests"))]
const LIBRARY: &str = "libcuda.so.1";

/// The oldest driver that has every function and reads the kernels' PTX.
const OLDEST: CudaVersion = CudaVersion(11_080);

/// A version of CUDA as the driver counts: 12.4 is 12040.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CudaVersion(pub(in crate::driver) i32);

impl fmt::Display for CudaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 / 1000, self.0 % 1000 / 10)
    }
}

/// An initialised driver.
#[derive(Debug)]
pub(in crate::driver) struct Driver {
    /// The newest CUDA that it supports.
    pub version: CudaVersion,
    /// Functions that cust's declarations lack.
    pub recent: Recent,
}

/// The driver of this machine, opened and initialised by the first call.
///
/// # Errors
/// [`DriverError::NoDriver`], [`DriverError::DriverTooOld`] or
/// [`DriverError::DriverUnusable`]; the same at every call.
pub(in crate::driver) fn driver() -> Result<&'static Driver> {
    DRIVER.get_or_init(open).as_ref().map_err(Clone::clone)
}

static DRIVER: OnceLock<Result<Driver>> = OnceLock::new();

#[cfg(any(not(test), feature = "gpu-tests"))]
fn open() -> Result<Driver> {
    let library = open_library(LIBRARY)?;
    let driver = connect(&|name| symbol(&library, name));
    // Never closed: the slots point into it.
    std::mem::forget(library);
    driver
}

/// Unit tests without a GPU run against a stand-in.
#[cfg(all(test, not(feature = "gpu-tests")))]
fn open() -> Result<Driver> {
    connect(&crate::driver::fake::symbol)
}

fn open_library(name: &str) -> Result<Library> {
    // SAFETY: loading runs the library's initialisers; this is the driver that
    // the machine's owner installed, made to be loaded so.
    unsafe { Library::new(name) }.map_err(|error| {
        // What the loader said is the error's source.
        let reason = error
            .source()
            .map_or_else(|| error.to_string(), ToString::to_string);
        DriverError::NoDriver { reason }
    })
}

#[cfg(any(not(test), feature = "gpu-tests"))]
fn symbol(library: &Library, name: &CStr) -> Option<*mut c_void> {
    // SAFETY: the symbol is taken as an address, which any symbol has.
    let symbol = unsafe { library.get::<*mut c_void>(name) }.ok()?;
    Some(*symbol)
}

/// Fills the slots by `find` and initialises the driver behind them.
fn connect(find: &dyn Fn(&CStr) -> Option<*mut c_void>) -> Result<Driver> {
    entry_points::fill(find).map_err(|name| DriverError::DriverUnusable {
        reason: format!("it has no function {}", name.to_string_lossy()),
    })?;
    let unusable = |failure: Failure| DriverError::DriverUnusable {
        reason: start_advice(failure),
    };
    let mut version = 0;
    // SAFETY: writes one integer.
    let asked = unsafe { cuDriverGetVersion(&mut version) };
    outcome("cuDriverGetVersion", asked).map_err(unusable)?;
    let version = check_version(CudaVersion(version))?;
    let recent = Recent::find()?;
    // SAFETY: takes no pointer; 0 is the only flag there is.
    outcome("cuInit", unsafe { cuInit(0) }).map_err(|failure| match failure.code {
        Code::NO_DEVICE => DriverError::NoDevice,
        _ => unusable(failure),
    })?;
    log::debug!("the driver is open, for CUDA {version}");
    Ok(Driver { version, recent })
}

fn check_version(found: CudaVersion) -> Result<CudaVersion> {
    if found < OLDEST {
        return Err(DriverError::DriverTooOld {
            found,
            needed: OLDEST,
        });
    }
    Ok(found)
}

/// What to do about a driver that does not start.
fn start_advice(failure: Failure) -> String {
    let advice = match failure.code.0 {
        3 => "; a process that was forked after CUDA was used cannot use it",
        34 => "; the library found is the toolkit's stub, not the driver",
        802 => "; the machine's fabric manager is not ready",
        803 => "; the driver's library and kernel module differ: restart the machine",
        999 => "; the kernel module may not be loaded: try nvidia-smi",
        _ => "",
    };
    format!("{failure}{advice}")
}

/// The name and meaning of a result, if the driver is open and knows it.
pub(super) fn describe(code: u32) -> Option<(String, String)> {
    let recent = &DRIVER.get()?.as_ref().ok()?.recent;
    let text = |get: unsafe extern "C" fn(u32, *mut *const c_char) -> u32| {
        let mut text: *const c_char = std::ptr::null();
        // SAFETY: the function takes any number; it writes one pointer.
        let status = unsafe { get(code, &mut text) };
        if status != CUresult::CUDA_SUCCESS as u32 || text.is_null() {
            return None;
        }
        // SAFETY: on success the pointer is to a static, terminated string.
        let text = unsafe { CStr::from_ptr(text) };
        Some(text.to_string_lossy().into_owned())
    };
    Some((text(recent.get_error_name)?, text(recent.get_error_string)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_driver_is_told_so() {
        let error = open_library("libkcache-no-such-driver.so.1").unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, DriverError::NoDriver { .. }), "{message}");
        assert!(
            message.contains("libkcache-no-such-driver.so.1"),
            "{message}"
        );
        assert!(message.contains("install the NVIDIA driver"), "{message}");
    }

    #[test]
    fn an_old_driver_is_refused_with_both_versions() {
        let message = check_version(CudaVersion(11_040)).unwrap_err().to_string();
        assert!(message.contains("CUDA 11.4"), "{message}");
        assert!(message.contains("11.8"), "{message}");
        assert!(check_version(CudaVersion(11_080)).is_ok());
        assert!(check_version(CudaVersion(13_000)).is_ok());
    }

    #[test]
    fn advice_names_the_likely_cause() {
        let failure = |code| Failure {
            call: "cuInit",
            code: Code(code),
        };
        assert!(start_advice(failure(3)).contains("forked"));
        assert!(start_advice(failure(803)).contains("restart"));
        assert!(start_advice(failure(1)).starts_with("cuInit returned"));
    }
}
