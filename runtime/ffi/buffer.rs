//! Buffers of the caller that results are copied to: asked with NULL, a function
//! tells the size; asked with a buffer, it fills it.

use std::ffi::c_char;

use super::failure::{Failure, Result};
use super::status::kcache_status;

/// Copies `values` to `buffer`, and their number to `length`.
///
/// # Errors
/// For a buffer that is too small, and if both pointers are NULL.
///
/// # Safety
/// `buffer` is NULL or has room for `capacity` values; `length` is NULL or can
/// be written.
pub unsafe fn fill<T: Copy>(
    values: &[T],
    buffer: *mut T,
    capacity: usize,
    length: *mut usize,
) -> Result<()> {
    // SAFETY: passed on.
    unsafe {
        if tell(
            values.len(),
            values.len(),
            buffer.is_null(),
            capacity,
            length,
        )? {
            std::ptr::copy_nonoverlapping(values.as_ptr(), buffer, values.len());
        }
    }
    Ok(())
}

/// Copies `text` and a NUL to `buffer`, and its length without the NUL to `length`.
///
/// # Errors
/// As [`fill`].
///
/// # Safety
/// As [`fill`].
pub unsafe fn fill_text(
    text: &str,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> Result<()> {
    // SAFETY: passed on.
    unsafe {
        if tell(
            text.len(),
            text.len() + 1,
            buffer.is_null(),
            capacity,
            length,
        )? {
            std::ptr::copy_nonoverlapping(text.as_ptr().cast(), buffer, text.len());
            *buffer.add(text.len()) = 0;
        }
    }
    Ok(())
}

/// Writes `length`, and says whether there is a buffer to be filled.
///
/// # Safety
/// As [`fill`].
unsafe fn tell(
    count: usize,
    needed: usize,
    only_asked: bool,
    capacity: usize,
    length: *mut usize,
) -> Result<bool> {
    if !length.is_null() {
        // SAFETY: not NULL, so the caller's promise holds.
        unsafe { length.write(count) };
    } else if only_asked {
        return Err(Failure::argument("buffer and length are both NULL"));
    }
    if !only_asked && capacity < needed {
        return Err(Failure::new(
            kcache_status::BufferTooSmall,
            format!("the buffer holds {capacity} and {needed} are needed"),
        ));
    }
    Ok(!only_asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_is_told_and_nothing_written_past_it() {
        let (mut buffer, mut length) = ([9_u32; 4], 0);
        let null = std::ptr::null_mut();
        // SAFETY: the buffer has four values.
        unsafe {
            fill(&[1, 2, 3], null, 0, &mut length).unwrap();
            assert_eq!(length, 3);
            let short = fill(&[1, 2, 3], buffer.as_mut_ptr(), 2, &mut length);
            assert_eq!(short.unwrap_err().status, kcache_status::BufferTooSmall);
            assert_eq!(buffer, [9; 4]);
            fill(&[1, 2, 3], buffer.as_mut_ptr(), 4, std::ptr::null_mut()).unwrap();
            assert_eq!(buffer, [1, 2, 3, 9]);
            assert!(fill::<u32>(&[], null, 0, std::ptr::null_mut()).is_err());
        }
    }

    #[test]
    fn text_needs_room_for_its_end() {
        let (mut buffer, mut length) = ([9 as c_char; 4], 0);
        // SAFETY: the buffer has four bytes.
        unsafe {
            assert!(fill_text("abc", buffer.as_mut_ptr(), 3, &mut length).is_err());
            assert_eq!((buffer[0], length), (9, 3));
            fill_text("abc", buffer.as_mut_ptr(), 4, &mut length).unwrap();
        }
        assert_eq!(buffer.map(|c| c as u8), *b"abc\0");
    }
}
