//! Tensors as they lie in a mapped file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;

use crate::{DType, Error, Result};

/// A tensor inside a mapped checkpoint: no copy, shared ownership of the map.
///
/// Rank 1 or 2, row-major, `[rows, cols]` with the input dimension last (the
/// layout of `torch.nn.Linear.weight`); a vector is one row.
#[derive(Clone, Debug)]
pub struct Tensor {
    label: Arc<(PathBuf, String)>,
    map: Arc<Mmap>,
    start: usize,
    dtype: DType,
    rows: usize,
    cols: usize,
    row_bytes: usize,
}

impl Tensor {
    /// Describes `rows` × `cols` elements of `dtype` that start at byte `start` of `map`.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming `path` and `name` when the rows are not whole
    /// blocks, the size overflows, or the bytes are not all inside the map.
    pub fn new(
        path: &Path,
        name: &str,
        map: Arc<Mmap>,
        start: usize,
        dtype: DType,
        [rows, cols]: [usize; 2],
    ) -> Result<Self> {
        let row_bytes = dtype.row_bytes(cols).ok_or_else(|| {
            Error::invalid(
                path,
                format!(
                    "tensor {name}: rows of {cols} elements are not whole {dtype} blocks of {}",
                    dtype.block_len()
                ),
            )
        })?;
        let end = rows
            .checked_mul(row_bytes)
            .and_then(|bytes| bytes.checked_add(start));
        match end {
            Some(end) if end <= map.len() => Ok(Self {
                label: Arc::new((path.to_owned(), name.to_owned())),
                map,
                start,
                dtype,
                rows,
                cols,
                row_bytes,
            }),
            _ => Err(Error::invalid(
                path,
                format!(
                    "tensor {name}: {rows} rows of {row_bytes} bytes at offset {start} pass the end of the file ({} bytes)",
                    map.len()
                ),
            )),
        }
    }

    /// Name in its file.
    pub fn name(&self) -> &str {
        &self.label.1
    }

    /// An [`Error::Invalid`] that names this tensor and its file.
    pub fn error(&self, message: impl std::fmt::Display) -> Error {
        Error::invalid(&self.label.0, format!("tensor {}: {message}", self.label.1))
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Output dimension (1 for a vector).
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Input dimension, the contiguous one.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Size of one row in bytes.
    pub fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// All bytes, `rows * row_bytes` of them, row after row. Alignment is not promised.
    pub fn bytes(&self) -> &[u8] {
        &self.map[self.start..self.start + self.rows * self.row_bytes]
    }
}
