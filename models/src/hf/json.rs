//! JSON files of a checkpoint, read key by key.

use std::fmt::Display;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::{Error, Result};

/// A JSON object and the file it came from.
#[derive(Debug)]
pub(crate) struct JsonFile {
    pub(crate) path: PathBuf,
    pub(crate) object: Map<String, Value>,
}

impl JsonFile {
    /// Reads `path`.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::Invalid`] if it is not one JSON object.
    pub(crate) fn read(path: PathBuf) -> Result<Self> {
        let text = read_text(&path)?;
        match serde_json::from_str(&text) {
            Ok(Value::Object(object)) => Ok(Self { path, object }),
            Ok(_) => Err(Error::invalid(&path, "not a JSON object")),
            Err(e) => Err(Error::invalid(&path, format!("not JSON: {e}"))),
        }
    }

    /// Like [`JsonFile::read`], for a file that need not be there.
    pub(crate) fn read_optional(path: PathBuf) -> Result<Option<Self>> {
        match Self::read(path) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    /// The value of `key` through `read`, which returns `None` for a value that
    /// is not `expected`. A missing key and `null` are the same.
    pub(crate) fn get<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.object.get(key).filter(|value| !value.is_null()) else {
            return Ok(None);
        };
        read(value)
            .map(Some)
            .ok_or_else(|| self.invalid(key, value, expected))
    }

    /// The boolean at `key`.
    pub(crate) fn bool(&self, key: &str) -> Result<Option<bool>> {
        self.get(key, "true or false", Value::as_bool)
    }

    /// The id at `key`.
    pub(crate) fn id(&self, key: &str) -> Result<Option<u32>> {
        self.get(key, "a token id", as_id)
    }

    /// The list of ids at `key`, which may also be a single one; empty if missing.
    pub(crate) fn ids(&self, key: &str) -> Result<Vec<u32>> {
        let ids = self.get(key, "a token id or a list of them", |value| match value {
            Value::Array(list) => list.iter().map(as_id).collect(),
            one => as_id(one).map(|id| vec![id]),
        })?;
        Ok(ids.unwrap_or_default())
    }

    /// An error about the value of `key`.
    fn invalid(&self, key: &str, value: &Value, expected: &str) -> Error {
        let shown = shown(value);
        Error::invalid(&self.path, format!("{key} is {shown}, expected {expected}"))
    }
}

/// Part of a file as an error message repeats it: cut after 60 characters.
pub(crate) fn shown(part: impl Display) -> String {
    const SHOWN: usize = 60;
    let mut shown = part.to_string();
    if let Some((end, _)) = shown.char_indices().nth(SHOWN) {
        shown.truncate(end);
        shown.push('…');
    }
    shown
}

/// A string of a file as an error message repeats it: quoted, escaped and cut.
pub(crate) fn quoted(text: &str) -> String {
    shown(format_args!("{text:?}"))
}

fn as_id(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|id| u32::try_from(id).ok())
}

/// The whole of a regular text file.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    // Asked before opening: opening a pipe would wait for a writer.
    let metadata = fs::metadata(path).map_err(|e| Error::io(path, e))?;
    if !metadata.is_file() {
        return Err(Error::invalid(path, "not a regular file"));
    }
    fs::read_to_string(path).map_err(|e| Error::io(path, e))
}
