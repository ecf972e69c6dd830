//! A device's context, shared with whatever else the process runs on it.

use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};

use super::sys::{
    self, CUcontext, CUdevice, CUresult, Failure, cuCtxGetCurrent, cuCtxPopCurrent_v2,
    cuCtxPushCurrent_v2, cuCtxSynchronize, cuDevicePrimaryCtxRelease_v2, cuDevicePrimaryCtxRetain,
    cuMemGetInfo_v2, outcome,
};
use super::{Device, DriverError, Result};

/// The primary context of a device, retained. Clones are the same context.
///
/// Every method of this module makes the context current for its own duration
/// and restores what the calling thread had, so a host program that uses CUDA
/// is not disturbed. Inside [`Context::scope`] that costs next to nothing.
///
/// A fault on the device (a kernel that traps, an address out of bounds) ends
/// the context for the process. From the call that reports it on, everything
/// answers [`DriverError::DeviceLost`].
#[derive(Clone, Debug)]
pub struct Context(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    device: Device,
    primary: Primary,
    lost: OnceLock<Failure>,
    #[cfg(any(test, feature = "gpu-tests"))]
    faults: super::AllocationFaults,
}

/// Device memory in bytes, as the driver counts it for all processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryInfo {
    /// Not allocated.
    pub free: u64,
    /// Allocated or not.
    pub total: u64,
}

impl Context {
    /// Retains the context of `device`.
    ///
    /// # Errors
    /// [`DriverError::Call`], for example when the device is held exclusively.
    pub fn new(device: Device) -> Result<Self> {
        sys::driver()?;
        let primary = Primary::retain(device.handle).map_err(|failure| DriverError::Call {
            device: device.to_string(),
            failure,
        })?;
        Ok(Self(Arc::new(Inner {
            device,
            primary,
            lost: OnceLock::new(),
            #[cfg(any(test, feature = "gpu-tests"))]
            faults: super::AllocationFaults::default(),
        })))
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.0.device
    }

    /// Runs `work` with the context current on this thread.
    ///
    /// # Errors
    /// [`DriverError::DeviceLost`] if it is lost; then `work` does not run.
    pub fn scope<R>(&self, work: impl FnOnce() -> R) -> Result<R> {
        let _current = self.enter()?;
        Ok(work())
    }

    /// Waits for all work on the device.
    ///
    /// # Errors
    /// [`DriverError::DeviceLost`] if some of it faulted.
    pub fn synchronize(&self) -> Result<()> {
        let _current = self.enter()?;
        // SAFETY: the context is current.
        self.check("cuCtxSynchronize", unsafe { cuCtxSynchronize() })
    }

    /// Free and total device memory.
    ///
    /// # Errors
    /// [`DriverError::DeviceLost`] or [`DriverError::Call`].
    pub fn memory_info(&self) -> Result<MemoryInfo> {
        let _current = self.enter()?;
        let (mut free, mut total) = (0, 0);
        // SAFETY: writes two sizes.
        let result = unsafe { cuMemGetInfo_v2(&mut free, &mut total) };
        self.check("cuMemGetInfo", result)?;
        Ok(MemoryInfo {
            free: free as u64,
            total: total as u64,
        })
    }

    /// Whether both are the same device's context.
    pub fn same_as(&self, other: &Self) -> bool {
        self.0.primary.raw == other.0.primary.raw
    }

    /// Makes allocations fail, to test what follows.
    #[cfg(any(test, feature = "gpu-tests"))]
    pub fn faults(&self) -> &super::AllocationFaults {
        &self.0.faults
    }

    /// Notes in this handle alone that the device is lost, to test what follows.
    #[cfg(test)]
    pub(crate) fn lose(&self) {
        let _ = self.fail(Failure {
            call: "cuTest",
            code: super::Code(719),
        });
    }

    /// Whether a test wants the allocation that is about to be made to fail.
    pub(super) fn allocation_must_fail(&self) -> bool {
        #[cfg(any(test, feature = "gpu-tests"))]
        return self.0.faults.strikes();
        #[cfg(not(any(test, feature = "gpu-tests")))]
        false
    }

    /// Makes the context current until the guard goes.
    pub(super) fn enter(&self) -> Result<Current> {
        if let Some(&cause) = self.0.lost.get() {
            return Err(self.lost(cause));
        }
        Current::new(self.0.primary.raw).map_err(|failure| self.fail(failure))
    }

    /// Calls `free`, which gives something back to the driver. It cannot fail
    /// in a way that anyone could act on, and is called on a lost device too.
    pub(super) fn release(&self, free: impl FnOnce() -> CUresult) {
        if let Ok(_current) = Current::new(self.0.primary.raw) {
            let _ = free();
        }
    }

    /// The same once the device is idle. On a lost device nothing runs any more;
    /// where waiting is refused the thing stays, rather than being pulled from
    /// under the device.
    pub(super) fn release_when_idle(&self, free: impl FnOnce() -> CUresult) {
        if self.is_idle() {
            self.release(free);
        }
    }

    /// Waits for all work on the device. False if that is refused.
    pub(super) fn is_idle(&self) -> bool {
        matches!(
            self.synchronize(),
            Ok(()) | Err(DriverError::DeviceLost { .. })
        )
    }

    /// What `call` returned, as this module's error. Notes the loss of the device.
    pub(super) fn check(&self, call: &'static str, result: CUresult) -> Result<()> {
        outcome(call, result).map_err(|failure| self.fail(failure))
    }

    /// `failure` as this module's error. Notes the loss of the device.
    pub(super) fn fail(&self, failure: Failure) -> DriverError {
        if failure.code.is_sticky() {
            return self.lost(*self.0.lost.get_or_init(|| failure));
        }
        DriverError::Call {
            device: self.0.device.to_string(),
            failure,
        }
    }

    fn lost(&self, cause: Failure) -> DriverError {
        DriverError::DeviceLost {
            device: self.0.device.to_string(),
            cause,
        }
    }
}

/// A device's primary context, which it shares with CUDA's runtime library.
#[derive(Debug)]
struct Primary {
    raw: CUcontext,
    device: CUdevice,
}

// SAFETY: the driver takes contexts from any thread at any time.
unsafe impl Send for Primary {}
// SAFETY: as above.
unsafe impl Sync for Primary {}

impl Primary {
    fn retain(device: CUdevice) -> Result<Self, Failure> {
        let mut raw: CUcontext = std::ptr::null_mut();
        // SAFETY: writes one handle.
        let result = unsafe { cuDevicePrimaryCtxRetain(&mut raw, device) };
        outcome("cuDevicePrimaryCtxRetain", result)?;
        Ok(Self { raw, device })
    }
}

impl Drop for Primary {
    fn drop(&mut self) {
        // SAFETY: retained once by `retain`.
        let _ = unsafe { cuDevicePrimaryCtxRelease_v2(self.device) };
    }
}

/// While it lives, a context is current on this thread.
pub(super) struct Current {
    pushed: bool,
    /// The stack of contexts is the thread's.
    _thread: PhantomData<*const ()>,
}

impl Current {
    fn new(context: CUcontext) -> Result<Self, Failure> {
        let mut current: CUcontext = std::ptr::null_mut();
        // SAFETY: writes one pointer.
        let result = unsafe { cuCtxGetCurrent(&mut current) };
        outcome("cuCtxGetCurrent", result)?;
        let pushed = current != context;
        if pushed {
            // SAFETY: the caller retains the context.
            let result = unsafe { cuCtxPushCurrent_v2(context) };
            outcome("cuCtxPushCurrent", result)?;
        }
        Ok(Self {
            pushed,
            _thread: PhantomData,
        })
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        if self.pushed {
            let mut popped: CUcontext = std::ptr::null_mut();
            // SAFETY: writes one pointer; what is popped was pushed by `new`.
            let _ = unsafe { cuCtxPopCurrent_v2(&mut popped) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Code;
    use crate::driver::testing::context;

    fn current() -> CUcontext {
        let mut current: CUcontext = std::ptr::null_mut();
        // SAFETY: writes one pointer.
        unsafe { cuCtxGetCurrent(&mut current) };
        current
    }

    #[test]
    fn a_thread_keeps_what_it_had() {
        let context = context();
        assert!(current().is_null());
        let raw = context.0.primary.raw;
        context
            .scope(|| {
                assert_eq!(current(), raw);
                // A second handle, a nested scope and an operation leave it current.
                let again = Context::new(context.device().clone()).unwrap();
                assert!(again.same_as(&context));
                assert_eq!(current(), raw);
                context.scope(|| assert_eq!(current(), raw)).unwrap();
                context.memory_info().unwrap();
                assert_eq!(current(), raw);
            })
            .unwrap();
        assert!(current().is_null());
    }

    #[test]
    fn memory_is_counted() {
        let info = context().memory_info().unwrap();
        assert!(info.free > 0 && info.free <= info.total, "{info:?}");
    }

    #[test]
    fn only_sticky_failures_lose_the_device() {
        // The loss is noted in this handle alone, and nothing faulted.
        let context = context();
        let failure = |code| Failure {
            call: "cuThing",
            code: Code(code),
        };
        assert!(matches!(context.fail(failure(2)), DriverError::Call { .. }));
        assert!(context.memory_info().is_ok());
        assert!(matches!(
            context.fail(failure(719)),
            DriverError::DeviceLost { .. }
        ));
        let message = context.memory_info().unwrap_err().to_string();
        assert!(message.contains("cuThing"), "{message}");
        assert!(message.contains("719"), "{message}");
        assert!(message.contains("restart"), "{message}");
    }
}
