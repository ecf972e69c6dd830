//! Reads the little-endian fields of a GGUF file and knows where it is.

use std::fmt::Display;
use std::path::Path;

use crate::{Error, Result};

/// A bounds-checked position in the bytes of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(path: &'a Path, bytes: &'a [u8], at: usize) -> Self {
        Self { path, bytes, at }
    }

    /// Offset of the next byte in the file.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// All bytes of the file.
    pub(super) fn file(&self) -> &'a [u8] {
        self.bytes
    }

    /// Bytes from here to the end of the file.
    pub(super) fn remaining(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    /// An [`Error::Invalid`] about the field at byte `at`.
    pub(super) fn invalid(&self, at: usize, message: impl Display) -> Error {
        Error::invalid(self.path, format!("at byte {at}: {message}"))
    }

    /// The next `n` bytes; `what` names them in the error.
    pub(super) fn take(&mut self, n: u64, what: impl Display) -> Result<&'a [u8]> {
        let end = usize::try_from(n).ok().and_then(|n| self.at.checked_add(n));
        match end.and_then(|end| self.bytes.get(self.at..end)) {
            Some(field) => {
                self.at += field.len();
                Ok(field)
            }
            None => Err(self.invalid(
                self.at,
                format_args!(
                    "{what} takes {n} bytes, but only {} are left",
                    self.remaining()
                ),
            )),
        }
    }

    pub(super) fn array<const N: usize>(&mut self, what: impl Display) -> Result<[u8; N]> {
        let mut field = [0; N];
        field.copy_from_slice(self.take(N as u64, what)?);
        Ok(field)
    }

    pub(super) fn u32(&mut self, what: impl Display) -> Result<u32> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: impl Display) -> Result<u64> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A 64-bit length and as many bytes of UTF-8.
    pub(super) fn string(&mut self, what: impl Display) -> Result<&'a str> {
        let len = self.u64(&what)?;
        let at = self.at;
        let bytes = self.take(len, &what)?;
        std::str::from_utf8(bytes)
            .map_err(|e| self.invalid(at + e.valid_up_to(), format_args!("{what} is not UTF-8")))
    }

    /// A 64-bit count of things that take at least `min_bytes` each.
    ///
    /// Refusing a count that the rest of the file cannot hold bounds every
    /// allocation made from it.
    pub(super) fn count(&mut self, min_bytes: usize, what: impl Display) -> Result<usize> {
        let at = self.at;
        let declared = self.u64(&what)?;
        let possible = self.remaining() / min_bytes;
        match usize::try_from(declared) {
            Ok(n) if n <= possible => Ok(n),
            _ => Err(self.invalid(
                at,
                format_args!(
                    "{what} is {declared}, but the {} bytes left hold at most {possible}",
                    self.remaining()
                ),
            )),
        }
    }
}
