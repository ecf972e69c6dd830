//! An open GGUF file.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;

use super::cursor::Cursor;
use super::from_value::FromValue;
use super::header::{self, Key};
use super::tensors::{self, Entry};
use super::value::{Quoted, Value};
use crate::arch::{Naming, TensorSource};
use crate::map::{Reading, read_file};
use crate::{Error, Result, Tensor};

/// A mapped GGUF file whose metadata and tensor table have been checked.
///
/// ```no_run
/// # fn main() -> kcache_models::Result<()> {
/// use kcache_models::gguf::GgufFile;
/// let file = GgufFile::open("model.gguf".as_ref())?;
/// let architecture: &str = file.require("general.architecture")?;
/// let merges: Option<Vec<&str>> = file.get("tokenizer.ggml.merges")?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct GgufFile {
    path: PathBuf,
    map: Arc<Mmap>,
    /// Sorted by key.
    keys: Vec<Key>,
    /// Sorted by name.
    tensors: Vec<Entry>,
}

impl GgufFile {
    /// Maps `path` and checks everything but the numbers in the tensors.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Unsupported`] for
    /// versions other than 2 and 3, big-endian files and element types outside
    /// [`crate::DType`], and [`Error::Invalid`], with the byte offset, for
    /// whatever else the format forbids.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_by(path, Reading::Mapped)
    }

    /// As [`GgufFile::open`], with the bytes mapped or copied.
    ///
    /// # Errors
    /// As [`GgufFile::open`]; [`Error::Invalid`] for a copy above its limit.
    pub fn open_by(path: &Path, reading: Reading) -> Result<Self> {
        let map = read_file(path, reading)?;
        let mut cursor = Cursor::new(path, &map, 0);
        let counts = header::read_counts(&mut cursor, path)?;
        let keys = header::read_keys(&mut cursor, counts.keys)?;
        let mut file = Self {
            path: path.to_owned(),
            map: Arc::clone(&map),
            keys,
            tensors: Vec::new(),
        };
        let alignment = file.alignment()?;
        file.tensors = tensors::read_table(&mut cursor, path, &map, counts.tensors, alignment)?;
        Ok(file)
    }

    /// The file, as given to [`GgufFile::open`].
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All metadata keys, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.name(&self.map))
    }

    /// The value of `key` as a `T`, or `None` if the file lacks the key.
    ///
    /// `T` is `u32`, `i32`, `u64` (from any integer type, if the value fits),
    /// `f32`, `bool`, `&str`, or a `Vec` of one of these.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the key if its value is no `T`.
    pub fn get<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<Option<T>> {
        let Some(value) = self.value(key)? else {
            return Ok(None);
        };
        match T::from_value(value) {
            Some(value) => Ok(Some(value)),
            None => Err(self.invalid(key, T::expected())),
        }
    }

    /// The value of `key` as a `T`; see [`GgufFile::get`].
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the key if it is missing or its value is no `T`.
    pub fn require<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<T> {
        self.get(key)?
            .ok_or_else(|| self.invalid(key, T::expected()))
    }

    /// The value of `key` whatever its type, or `None` if the file lacks the key.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the value cannot be read, which
    /// [`GgufFile::open`] has ruled out unless the file changed since.
    pub fn value(&self, key: &str) -> Result<Option<Value<'_>>> {
        let Some(found) = self.find(key) else {
            return Ok(None);
        };
        let mut cursor = Cursor::new(&self.path, &self.map, found.value_at());
        Value::read(&mut cursor, found.value_type(), Quoted(key)).map(Some)
    }

    /// All tensor names, sorted.
    pub fn tensor_names(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().map(|entry| entry.name(&self.map))
    }

    /// An [`Error::Invalid`] about the value of `key`: where and what it is,
    /// and what was `expected`.
    pub(crate) fn invalid(&self, key: &str, expected: impl Display) -> Error {
        let found = self.describe(key);
        Error::invalid(&self.path, format!("{found}, expected {expected}"))
    }

    /// An [`Error::Unsupported`] about the value of `key`.
    pub(crate) fn unsupported(&self, key: &str, supported: impl Display) -> Error {
        let found = self.describe(key);
        Error::unsupported(&self.path, format!("{found}; supported: {supported}"))
    }

    fn describe(&self, key: &str) -> String {
        match (self.find(key), self.value(key)) {
            (Some(found), Ok(Some(value))) => {
                format!("at byte {}: {key} is {value}", found.value_at())
            }
            _ => format!("{key} is missing"),
        }
    }

    fn find(&self, key: &str) -> Option<&Key> {
        let found = self.keys.binary_search_by(|k| k.name(&self.map).cmp(key));
        found.ok().map(|i| &self.keys[i])
    }

    /// Boundary to which tensor data is padded, in bytes.
    fn alignment(&self) -> Result<usize> {
        const KEY: &str = "general.alignment";
        /// Far above any page size; padding must not overflow the file's size.
        const MAX: u32 = 1 << 20;
        match self.get::<u32>(KEY)?.unwrap_or(32) {
            n if n.is_power_of_two() && (8..=MAX).contains(&n) => Ok(n as usize),
            _ => Err(self.invalid(KEY, format_args!("a power of two from 8 to {MAX}"))),
        }
    }
}

/// Rows and columns are those of `torch.nn.Linear.weight`: GGUF lists
/// dimensions innermost first, and dimensions past the second multiply the rows.
impl TensorSource for GgufFile {
    fn naming(&self) -> Naming {
        Naming::Gguf
    }

    fn tensor(&self, name: &str) -> Result<Option<Tensor>> {
        let found = self
            .tensors
            .binary_search_by(|e| e.name(&self.map).cmp(name));
        let entry = found.ok().map(|i| &self.tensors[i]);
        entry.map(|e| e.tensor(&self.path, &self.map)).transpose()
    }

    fn path_of(&self, _: &str) -> &Path {
        &self.path
    }
}
