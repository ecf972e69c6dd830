//! Structs that may grow: their first field is their size as the caller knows it.

use std::mem::size_of;

use super::boundary;
use super::failure::{Failure, Result};
use super::status::kcache_status;

/// A struct of the header whose first field is `size_t struct_size`.
///
/// # Safety
/// `repr(C)`, `struct_size` first, no padding, and every byte pattern is a value.
pub unsafe trait Versioned: Copy {
    /// Its name in C.
    const NAME: &'static str;
    /// Its size in the first version that had it.
    const FIRST_SIZE: usize;
    /// What the caller gets who sets nothing.
    fn initial() -> Self;
}

/// A size beyond which `struct_size` was never set.
const LARGEST: usize = 4096;

/// The struct at `params`: fields that an older caller does not know are as
/// initially.
///
/// # Errors
/// For NULL, a size that no version had, and fields set by a newer caller.
///
/// # Safety
/// `params` is NULL or points to as many bytes as its first field says.
pub unsafe fn read<T: Versioned>(params: *const T) -> Result<T> {
    // SAFETY: passed on.
    let size = unsafe { checked_size(params)? };
    let mut value = T::initial();
    let known = size.min(size_of::<T>());
    // SAFETY: both have `known` bytes, and any bytes are a `T`.
    unsafe {
        std::ptr::copy_nonoverlapping(params.cast::<u8>(), (&raw mut value).cast(), known);
    }
    for at in known..size {
        // SAFETY: within the caller's struct.
        if unsafe { *params.cast::<u8>().add(at) } != 0 {
            return Err(Failure::argument(format!(
                "{} has a field at byte {at} that this version of kcache does not know; leave it 0",
                T::NAME
            )));
        }
    }
    Ok(value)
}

/// As [`read`], but NULL is [`Versioned::initial`].
///
/// # Errors
/// As [`read`].
///
/// # Safety
/// As [`read`].
pub unsafe fn read_or_initial<T: Versioned>(params: *const T) -> Result<T> {
    match params.is_null() {
        true => Ok(T::initial()),
        // SAFETY: passed on.
        false => unsafe { read(params) },
    }
}

/// Writes `value` as far as the struct at `out` goes, but for its size.
///
/// # Errors
/// As [`read`].
///
/// # Safety
/// `out` is NULL or points to as many bytes as its first field says.
pub unsafe fn write<T: Versioned>(out: *mut T, value: &T) -> Result<()> {
    // SAFETY: passed on.
    let size = unsafe { checked_size(out)? }.min(size_of::<T>());
    // SAFETY: both have `size` bytes; the first field is left alone.
    unsafe {
        let (from, to) = ((&raw const *value).cast::<u8>(), out.cast::<u8>());
        let first = size_of::<usize>();
        std::ptr::copy_nonoverlapping(from.add(first), to.add(first), size - first);
    }
    Ok(())
}

/// The body of a `…_default` function: `initial` in a struct of `struct_size` bytes.
///
/// # Safety
/// `out` is NULL or has `struct_size` bytes to write.
pub unsafe fn default<T: Versioned>(out: *mut T, struct_size: usize) -> kcache_status {
    boundary::plain(|| {
        if out.is_null() || !(T::FIRST_SIZE..=LARGEST).contains(&struct_size) {
            return Err(Failure::argument("no struct"));
        }
        // SAFETY: the caller's promise; zeros are what a newer caller's fields start from.
        unsafe {
            std::ptr::write_bytes(out.cast::<u8>(), 0, struct_size);
            out.cast::<usize>().write_unaligned(struct_size);
            write(out, &T::initial())
        }
    })
}

/// # Safety
/// As [`read`].
unsafe fn checked_size<T: Versioned>(pointer: *const T) -> Result<usize> {
    if pointer.is_null() {
        return Err(Failure::argument(format!("{} is NULL", T::NAME)));
    }
    // SAFETY: not NULL, so the first field is there.
    let size = unsafe { pointer.cast::<usize>().read_unaligned() };
    if !(T::FIRST_SIZE..=LARGEST).contains(&size) {
        return Err(Failure::argument(format!(
            "{} has struct_size {size}; set it to sizeof, which is at least {}",
            T::NAME,
            T::FIRST_SIZE
        )));
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct settings {
        struct_size: usize,
        first: u64,
        added: u64,
    }

    // SAFETY: numbers without padding.
    unsafe impl Versioned for settings {
        const NAME: &'static str = "settings";
        const FIRST_SIZE: usize = 16;
        fn initial() -> Self {
            Self {
                struct_size: 24,
                first: 1,
                added: 2,
            }
        }
    }

    fn read_words(words: &[u64]) -> Result<settings> {
        // SAFETY: the size in front is that of the words, or refused.
        unsafe { read(words.as_ptr().cast()) }
    }

    #[test]
    fn older_and_newer_callers_are_understood() {
        let old = read_words(&[16, 9]).unwrap();
        assert_eq!((old.first, old.added), (9, 2));
        let same = read_words(&[24, 9, 8]).unwrap();
        assert_eq!((same.first, same.added), (9, 8));
        assert!(read_words(&[32, 9, 8, 0]).is_ok());
        let newer = read_words(&[32, 9, 8, 1]).unwrap_err();
        assert!(newer.message.contains("byte 24"), "{}", newer.message);
    }

    #[test]
    fn sizes_that_no_version_had_are_refused() {
        for size in [0, 15, 4097, u64::MAX] {
            let failure = read_words(&[size, 0]).unwrap_err();
            assert!(
                failure.message.contains("struct_size"),
                "{}",
                failure.message
            );
        }
    }

    #[test]
    fn an_older_callers_struct_is_not_written_past_its_end() {
        let mut words = [16_u64, 0, 77];
        // SAFETY: 16 bytes and more are there.
        unsafe { write(words.as_mut_ptr().cast(), &settings::initial()) }.unwrap();
        assert_eq!(words, [16, 1, 77]);
        let mut words = [5_u64; 4];
        // SAFETY: 32 bytes are there.
        let status = unsafe { default::<settings>(words.as_mut_ptr().cast(), 32) };
        assert_eq!((status, words), (kcache_status::Ok, [32, 1, 2, 0]));
    }
}
