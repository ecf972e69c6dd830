//! The header and the index of metadata keys.

use std::path::Path;

use super::cursor::Cursor;
use super::value::{Quoted, Value, ValueType};
use crate::{Error, Result};

/// What the file says it holds.
pub(super) struct Counts {
    pub(super) tensors: usize,
    pub(super) keys: usize,
}

/// Where a checked key-value pair lies in the file.
///
/// Kept smaller than twice the pair itself, so that an index of many tiny
/// pairs stays in proportion to the file.
#[derive(Debug)]
pub(super) struct Key {
    name_at: usize,
    value_at: usize,
    name_len: u16,
    value_type: ValueType,
}

impl Key {
    pub(super) fn name<'a>(&self, file: &'a [u8]) -> &'a str {
        str_at(file, self.name_at, self.name_len.into())
    }

    /// Offset of the value's first byte.
    pub(super) fn value_at(&self) -> usize {
        self.value_at
    }

    pub(super) fn value_type(&self) -> ValueType {
        self.value_type
    }
}

/// Text that was checked when the file was opened.
pub(super) fn str_at(file: &[u8], at: usize, len: usize) -> &str {
    let bytes = file.get(at..at + len).unwrap_or_default();
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// Checks magic and version and reads the two counts.
pub(super) fn read_counts(cursor: &mut Cursor<'_>, path: &Path) -> Result<Counts> {
    let magic = cursor.array::<4>("the magic")?;
    if &magic != b"GGUF" {
        let message = format!("not a GGUF file: starts with {}", magic.escape_ascii());
        return Err(Error::invalid(path, message));
    }
    match cursor.u32("the version")? {
        2 | 3 => {}
        // Versions are small, so one with only high bytes was written the other way round.
        v if v & 0xffff == 0 && v != 0 => {
            let message = "the file is big-endian; only little-endian GGUF is supported";
            return Err(Error::unsupported(path, message));
        }
        v => {
            let message = format!("GGUF version {v} is not supported; versions 2 and 3 are");
            return Err(Error::unsupported(path, message));
        }
    }
    Ok(Counts {
        // A description: name of one byte, one dimension, type, offset.
        tensors: cursor.count(8 + 1 + 4 + 8 + 4 + 8, "the number of tensors")?,
        // A pair: key of one byte, type, value of one byte.
        keys: cursor.count(8 + 1 + 4 + 1, "the number of metadata keys")?,
    })
}

/// Reads and checks `n` key-value pairs; the index comes back sorted by key.
pub(super) fn read_keys(cursor: &mut Cursor<'_>, n: usize) -> Result<Vec<Key>> {
    let mut keys = Vec::with_capacity(n);
    for _ in 0..n {
        keys.push(read_key(cursor)?);
    }
    let file = cursor.file();
    keys.sort_unstable_by_key(|key: &Key| (key.name(file), key.name_at));
    for pair in keys.windows(2) {
        let name = pair[1].name(file);
        if pair[0].name(file) == name {
            let message = format!("key {} is a duplicate", Quoted(name));
            return Err(cursor.invalid(pair[1].name_at, message));
        }
    }
    Ok(keys)
}

fn read_key(cursor: &mut Cursor<'_>) -> Result<Key> {
    let start = cursor.at();
    let name = cursor.string("a metadata key")?;
    let name_at = cursor.at() - name.len();
    let name_len = match u16::try_from(name.len()) {
        Ok(len) if len > 0 => len,
        _ => {
            let message = format!(
                "a metadata key has {} bytes, expected 1 to 65535",
                name.len()
            );
            return Err(cursor.invalid(start, message));
        }
    };
    let shown = Quoted(name);
    let value_type = ValueType::read(cursor, format_args!("type of {shown}"))?;
    let value_at = cursor.at();
    Value::read(cursor, value_type, shown)?;
    Ok(Key {
        name_at,
        value_at,
        name_len,
        value_type,
    })
}
