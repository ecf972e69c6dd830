//! What callers pass in: texts, arrays and flags.

use std::ffi::{CStr, c_char};

use super::failure::{Failure, Result};

/// A text that ends with a NUL.
///
/// # Errors
/// For NULL and text that is not UTF-8.
///
/// # Safety
/// `text` is NULL or ends with a NUL, and stays as it is during `'a`.
pub unsafe fn text<'a>(name: &str, text: *const c_char) -> Result<&'a str> {
    // SAFETY: passed on.
    unsafe { optional_text(name, text)? }
        .ok_or_else(|| Failure::argument(format!("{name} is NULL")))
}

/// As [`text()`]; `None` for NULL.
///
/// # Errors
/// For text that is not UTF-8.
///
/// # Safety
/// As [`text()`].
pub unsafe fn optional_text<'a>(name: &str, text: *const c_char) -> Result<Option<&'a str>> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: not NULL, so the caller's promise holds.
    let bytes = unsafe { CStr::from_ptr(text) }.to_bytes();
    utf8(name, bytes).map(Some)
}

/// A text of `length` bytes, which may hold NULs.
///
/// # Errors
/// As [`array`], and for text that is not UTF-8.
///
/// # Safety
/// As [`array`].
pub unsafe fn text_of<'a>(name: &str, text: *const c_char, length: usize) -> Result<&'a str> {
    // SAFETY: passed on.
    utf8(name, unsafe { array(name, text.cast(), length)? })
}

fn utf8<'a>(name: &str, bytes: &'a [u8]) -> Result<&'a str> {
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        Failure::argument(format!("{name} is not UTF-8 at byte {at}"))
    })
}

/// `length` values; NULL may stand for none.
///
/// # Errors
/// For NULL with a length, a pointer that is not aligned, and a length that no
/// memory has.
///
/// # Safety
/// `values` is NULL or points to `length` values, which stay as they are during `'a`.
pub unsafe fn array<'a, T>(name: &str, values: *const T, length: usize) -> Result<&'a [T]> {
    check_array(name, values, length)?;
    match length {
        0 => Ok(&[]),
        // SAFETY: checked, and the caller's promise.
        _ => Ok(unsafe { std::slice::from_raw_parts(values, length) }),
    }
}

/// What can be checked of an array of the caller's, read or written.
///
/// # Errors
/// As [`array`].
pub fn check_array<T>(name: &str, values: *const T, length: usize) -> Result<()> {
    if length == 0 {
        return Ok(());
    }
    if values.is_null() {
        return Err(Failure::argument(format!("{name} is NULL")));
    }
    if !values.is_aligned() {
        return Err(Failure::argument(format!("{name} is not aligned")));
    }
    match length.checked_mul(size_of::<T>()) {
        Some(bytes) if bytes <= isize::MAX as usize => Ok(()),
        _ => Err(Failure::argument(format!(
            "{name}: {length} elements are more than memory can hold"
        ))),
    }
}

/// A flag, 0 or 1.
///
/// # Errors
/// For any other number.
pub fn flag(name: &str, value: u32) -> Result<bool> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Failure::argument(format!(
            "{name} must be 0 or 1, got {value}"
        ))),
    }
}

/// A count for which 0 means that the caller leaves it to kcache.
pub fn count(value: usize) -> Option<usize> {
    (value > 0).then_some(value)
}
