//! Where Rust ends: what a body returns or throws becomes a status.

use std::any::Any;
use std::ffi::c_char;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use super::failure::{Failure, Result};
use super::handle::{Handle, Object};
use super::message;
use super::status::kcache_status;

/// Runs `body` on what `object` points to, which keeps the text of a failure.
///
/// # Safety
/// As [`Handle::open`].
pub unsafe fn call<O: Object>(
    object: *const O,
    body: impl FnOnce(&Handle<O>) -> Result<()>,
) -> kcache_status {
    // SAFETY: passed on.
    match unsafe { Handle::open(object) } {
        Ok(handle) => run(&handle, body),
        Err(failure) => failure.status,
    }
}

/// Makes a handle of `empty`, lets `fill` put into it what a user wants, and
/// writes it to `out` even if that failed: it has the text.
///
/// # Safety
/// `out` is NULL or can be written.
pub unsafe fn create<O: Object>(
    out: *mut *mut O,
    empty: O::Value,
    fill: impl FnOnce(&Handle<O>) -> Result<()>,
) -> kcache_status {
    let Some(out) = NonNull::new(out) else {
        return kcache_status::InvalidArgument;
    };
    let handle = Handle::new(empty);
    let status = run(&handle, fill);
    // SAFETY: not NULL, so the caller's promise holds.
    unsafe { out.write(handle.into_raw()) };
    status
}

/// Frees what `*object` points to and makes it NULL.
///
/// # Safety
/// `object` is NULL or can be written, and `*object` is as [`Handle::free`] wants it.
pub unsafe fn free<O: Object>(object: *mut *mut O) {
    let Some(object) = NonNull::new(object) else {
        return;
    };
    // SAFETY: not NULL, so the caller's promise holds.
    let raw = unsafe { object.replace(std::ptr::null_mut()) };
    // A fault in a destructor has nobody to be told to.
    // SAFETY: passed on.
    let _ = catch_unwind(AssertUnwindSafe(|| unsafe { Handle::free(raw) }));
}

/// Copies the calling thread's text of `object` as `snprintf` does, and returns
/// its length.
///
/// # Safety
/// As [`Handle::open`]; `buffer` is NULL or has `capacity` bytes to write.
pub unsafe fn message<O: Object>(object: *const O, buffer: *mut c_char, capacity: usize) -> usize {
    // SAFETY: passed on.
    unsafe {
        match Handle::check(object) {
            Ok(handle) => handle.messages.copy(buffer, capacity),
            Err(failure) => {
                message::copy_cut(&failure.message, buffer, capacity);
                failure.message.len()
            }
        }
    }
}

/// Runs a body that no handle is involved in.
pub fn plain(body: impl FnOnce() -> Result<()>) -> kcache_status {
    match guarded(body) {
        Ok(()) => kcache_status::Ok,
        Err(failure) => failure.status,
    }
}

fn run<O: Object>(
    handle: &Handle<O>,
    body: impl FnOnce(&Handle<O>) -> Result<()>,
) -> kcache_status {
    match guarded(|| body(handle)) {
        Ok(()) => {
            handle.messages.note(None);
            kcache_status::Ok
        }
        Err(failure) => {
            handle.messages.note(Some(failure.message));
            failure.status
        }
    }
}

fn guarded(body: impl FnOnce() -> Result<()>) -> Result<()> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let message = format!("a fault in kcache: {}", panic_text(&*panic));
        Err(Failure::new(kcache_status::Internal, message))
    })
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct counter {}
    impl Object for counter {
        const NAME: &'static str = "counter";
        type Value = u32;
        type Shared = ();
    }

    struct other {}
    impl Object for other {
        const NAME: &'static str = "other";
        type Value = ();
        type Shared = ();
    }

    fn new() -> *mut counter {
        let mut object = std::ptr::null_mut();
        // SAFETY: `object` can be written.
        let status = unsafe { create(&mut object, 0, |_| Ok(())) };
        assert_eq!(status, kcache_status::Ok);
        object
    }

    fn add(object: *const counter) -> kcache_status {
        // SAFETY: the tests pass live objects or NULL.
        unsafe {
            call(object, |handle| {
                *handle.write()? += 1;
                Ok(())
            })
        }
    }

    fn message(object: *const counter) -> String {
        let mut text = vec![0_u8; 200];
        // SAFETY: the object is alive and the buffer has its size.
        let length = unsafe {
            let handle = Handle::open(object).unwrap();
            handle.messages.copy(text.as_mut_ptr().cast(), text.len())
        };
        text.truncate(length);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn null_and_other_types_are_refused() {
        assert_eq!(add(std::ptr::null()), kcache_status::InvalidArgument);
        let mut object = new();
        // SAFETY: a live object, though of another type.
        let status = unsafe { call(object.cast::<other>().cast_const(), |_| Ok(())) };
        assert_eq!(status, kcache_status::InvalidArgument);
        assert_eq!(add(object), kcache_status::Ok);
        // SAFETY: the pointer is alive, then NULL.
        unsafe {
            free(&mut object);
            assert!(object.is_null());
            free(&mut object);
            free(std::ptr::null_mut::<*mut counter>());
        }
    }

    #[test]
    fn a_call_within_a_call_is_busy() {
        let mut object = new();
        // SAFETY: a live object.
        let status = unsafe {
            call(object, |handle| {
                let _held = handle.write()?;
                assert_eq!(add(object), kcache_status::Busy);
                assert_eq!(message(object), "the counter is in use by another call");
                Ok(())
            })
        };
        assert_eq!(
            (status, add(object)),
            (kcache_status::Ok, kcache_status::Ok)
        );
        // SAFETY: a live object.
        unsafe { free(&mut object) };
    }

    #[test]
    fn an_object_freed_within_a_call_lives_until_its_end() {
        let mut object = new();
        // SAFETY: a live object, which is not used after it was freed.
        let status = unsafe {
            call(object, |handle| {
                free(&mut object);
                *handle.write()? += 1;
                Ok(())
            })
        };
        assert_eq!(status, kcache_status::Ok);
    }

    #[test]
    fn a_panic_is_a_status_and_breaks_only_what_it_wrote_to() {
        let mut object = new();
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| ()));
        // SAFETY: a live object.
        let (reading, writing) = unsafe {
            (
                call(object, |_| panic!("planted")),
                call(object, |handle| {
                    let _held = handle.write()?;
                    panic!("planted {}", 2)
                }),
            )
        };
        std::panic::set_hook(hook);
        let internal = kcache_status::Internal;
        assert_eq!((reading, writing), (internal, internal));
        assert_eq!(message(object), "a fault in kcache: planted 2");
        assert_eq!(add(object), internal);
        assert!(message(object).contains("broke this counter"));
        // SAFETY: a live object.
        unsafe { free(&mut object) };
    }
}
