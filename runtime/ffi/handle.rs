//! What an opaque pointer of the C API points to.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

use super::failure::{Failure, Result};
use super::message::Messages;
use super::status::kcache_status;

/// An opaque type of the header.
pub trait Object {
    /// What a C programmer calls one.
    const NAME: &'static str;
    /// What the lock guards.
    type Value: Send + Sync + 'static;
    /// What every thread may use at any time.
    type Shared: Default + Send + Sync + 'static;
}

/// What an `O *` points to: a count of [`Arc`] lies before it.
#[repr(C)]
pub struct Handle<O: Object> {
    /// [`tag`] while the handle is alive, then 0. First, so that it is found
    /// in a handle of any type.
    tag: AtomicU64,
    process: u32,
    pub messages: Messages,
    pub shared: O::Shared,
    value: RwLock<O::Value>,
}

/// Tells handles apart from each other and from other memory.
fn tag<O: Object>() -> u64 {
    let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    O::NAME.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, fnv)
}

impl<O: Object> Handle<O> {
    pub fn new(value: O::Value) -> Arc<Self> {
        Arc::new(Self {
            tag: AtomicU64::new(tag::<O>()),
            process: std::process::id(),
            messages: Messages::default(),
            shared: O::Shared::default(),
            value: RwLock::new(value),
        })
    }

    /// The pointer for the caller, who then owns one count.
    pub fn into_raw(self: Arc<Self>) -> *mut O {
        Arc::into_raw(self).cast_mut().cast()
    }

    /// The handle that `object` points to, kept alive even if it is freed meanwhile.
    ///
    /// # Errors
    /// For NULL, a handle of another type, a freed one whose memory is still as
    /// it was, and one of another process.
    ///
    /// # Safety
    /// `object` is NULL or came from [`Handle::into_raw`] and was not freed.
    pub unsafe fn open(object: *const O) -> Result<Arc<Self>> {
        let handle: *const Self = object.cast();
        // SAFETY: the caller's promise.
        unsafe {
            Self::check(object)?;
            Arc::increment_strong_count(handle);
            Ok(Arc::from_raw(handle))
        }
    }

    /// Whether `object` can be used.
    ///
    /// # Errors
    /// As [`Handle::open`].
    ///
    /// # Safety
    /// As [`Handle::open`].
    pub unsafe fn check<'a>(object: *const O) -> Result<&'a Self> {
        let handle: *const Self = object.cast();
        if handle.is_null() {
            return Err(Failure::argument(format!("the {} is NULL", O::NAME)));
        }
        let not_one = || Failure::argument(format!("the pointer is not to a {}", O::NAME));
        if !handle.is_aligned() {
            return Err(not_one());
        }
        // SAFETY: not NULL, aligned, and by the caller's promise alive. The
        // reference is used within the call, during which the caller may not free.
        let handle = unsafe { &*handle };
        if handle.tag.load(Ordering::Relaxed) != tag::<O>() {
            return Err(not_one());
        }
        if handle.process != std::process::id() {
            let message = format!(
                "the {} was made by process {}; after a fork it can only be freed",
                O::NAME,
                handle.process
            );
            return Err(Failure::new(kcache_status::Forked, message));
        }
        Ok(handle)
    }

    /// Gives the caller's count back. What a call in another thread still uses
    /// goes when that call ends.
    ///
    /// # Safety
    /// As [`Handle::open`]; `object` is not used again.
    pub unsafe fn free(object: *mut O) {
        // SAFETY: the caller's promise.
        let Ok(handle) = (unsafe { Self::check(object) }) else {
            // Not ours to free; of a parent process, threads and device are not here.
            return;
        };
        handle.tag.store(0, Ordering::Relaxed);
        // SAFETY: the count that `into_raw` gave out.
        drop(unsafe { Arc::from_raw(object.cast::<Self>().cast_const()) });
    }

    /// For functions that take a const pointer.
    ///
    /// # Errors
    /// [`kcache_status::Busy`], [`kcache_status::Internal`] after a fault.
    pub fn read(&self) -> Result<RwLockReadGuard<'_, O::Value>> {
        self.value.try_read().map_err(refused::<O, _>)
    }

    /// For functions that take a non-const pointer.
    ///
    /// # Errors
    /// As [`Handle::read`].
    pub fn write(&self) -> Result<RwLockWriteGuard<'_, O::Value>> {
        self.value.try_write().map_err(refused::<O, _>)
    }
}

fn refused<O: Object, Guard>(error: TryLockError<Guard>) -> Failure {
    match error {
        TryLockError::WouldBlock => Failure::new(
            kcache_status::Busy,
            format!("the {} is in use by another call", O::NAME),
        ),
        TryLockError::Poisoned(_) => Failure::new(
            kcache_status::Internal,
            format!("a fault in an earlier call broke this {}; free it", O::NAME),
        ),
    }
}
