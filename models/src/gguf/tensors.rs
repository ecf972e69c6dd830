//! The table of tensors.

use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;

use super::cursor::Cursor;
use super::header::str_at;
use super::types::TensorType;
use super::value::Quoted;
use crate::{DType, Error, Result, Tensor};

/// Bytes of the longest name; ggml stores 64 with a NUL.
const MAX_NAME: usize = 63;
/// ggml's highest rank.
const MAX_DIMS: u32 = 4;

/// Where a checked tensor lies in the file.
///
/// As with keys, an index of many tiny tensors stays in proportion to the
/// file; the [`Tensor`] is made when asked for.
#[derive(Debug)]
pub(super) struct Entry {
    name_at: usize,
    start: usize,
    shape: [usize; 2],
    name_len: u8,
    dtype: DType,
}

impl Entry {
    pub(super) fn name<'a>(&self, file: &'a [u8]) -> &'a str {
        str_at(file, self.name_at, self.name_len.into())
    }

    pub(super) fn tensor(&self, path: &Path, map: &Arc<Mmap>) -> Result<Tensor> {
        let name = self.name(map);
        Tensor::new(
            path,
            name,
            Arc::clone(map),
            self.start,
            self.dtype,
            self.shape,
        )
    }
}

/// A tensor as the table describes it.
struct Description<'a> {
    name: &'a str,
    name_at: usize,
    name_len: u8,
    dtype: DType,
    shape: [usize; 2],
    offset: u64,
    offset_at: usize,
}

/// Reads `n` descriptions and checks that the data they describe is there.
/// The table comes back sorted by name.
pub(super) fn read_table(
    cursor: &mut Cursor<'_>,
    path: &Path,
    map: &Arc<Mmap>,
    n: usize,
    alignment: usize,
) -> Result<Vec<Entry>> {
    let first = *cursor;
    for _ in 0..n {
        read_description(cursor, path)?;
    }
    // The data starts after the table, so its place is known only now.
    let data = cursor.at().next_multiple_of(alignment);
    let mut cursor = first;
    let mut next = data;
    let mut entries = Vec::with_capacity(n);
    for _ in 0..n {
        let description = read_description(&mut cursor, path)?;
        let entry = place(&cursor, &description, data, next)?;
        let bytes = check_data(&cursor, path, map, &entry)?;
        next = (next + bytes).next_multiple_of(alignment);
        entries.push(entry);
    }
    sort(&cursor, entries)
}

/// Checks the offset of a tensor whose data must begin at byte `next` of the file.
///
/// As in llama.cpp, tensors follow one another in the order of the table: any
/// other offset would read another tensor's numbers.
fn place(cursor: &Cursor<'_>, d: &Description<'_>, data: usize, next: usize) -> Result<Entry> {
    let expected = (next - data) as u64;
    if d.offset != expected {
        let message = format!(
            "tensor {} has offset {}, expected {expected}: the end of the one before it, padded",
            Quoted(d.name),
            d.offset
        );
        return Err(cursor.invalid(d.offset_at, message));
    }
    Ok(Entry {
        name_at: d.name_at,
        start: next,
        shape: d.shape,
        name_len: d.name_len,
        dtype: d.dtype,
    })
}

/// The size of a tensor's data in bytes, all of which the file has.
fn check_data(cursor: &Cursor<'_>, path: &Path, map: &Arc<Mmap>, entry: &Entry) -> Result<usize> {
    match entry.tensor(path, map) {
        Ok(tensor) => Ok(tensor.bytes().len()),
        Err(Error::Invalid { message, .. }) => Err(cursor.invalid(entry.name_at, message)),
        Err(error) => Err(error),
    }
}

fn sort(cursor: &Cursor<'_>, mut entries: Vec<Entry>) -> Result<Vec<Entry>> {
    let file = cursor.file();
    entries.sort_unstable_by_key(|entry| (entry.name(file), entry.name_at));
    for pair in entries.windows(2) {
        let name = pair[1].name(file);
        if pair[0].name(file) == name {
            let message = format!("tensor {} is a duplicate", Quoted(name));
            return Err(cursor.invalid(pair[1].name_at, message));
        }
    }
    Ok(entries)
}

fn read_description<'a>(cursor: &mut Cursor<'a>, path: &Path) -> Result<Description<'a>> {
    let start = cursor.at();
    let name = cursor.string("a tensor name")?;
    if name.is_empty() || name.len() > MAX_NAME {
        let message = format!(
            "a tensor name has {} bytes, expected 1 to {MAX_NAME}",
            name.len()
        );
        return Err(cursor.invalid(start, message));
    }
    if name.contains(char::is_control) {
        let message = format!("tensor name {} has control characters", Quoted(name));
        return Err(cursor.invalid(start, message));
    }
    let name_at = cursor.at() - name.len();
    let shown = Quoted(name);
    let shape = read_shape(cursor, shown)?;
    let dtype = read_dtype(cursor, path, shown)?;
    let offset_at = cursor.at();
    Ok(Description {
        name,
        name_at,
        name_len: name.len() as u8,
        dtype,
        shape,
        offset: cursor.u64(format_args!("offset of tensor {shown}"))?,
        offset_at,
    })
}

/// `[rows, cols]`; dimensions past the second multiply the rows.
fn read_shape(cursor: &mut Cursor<'_>, name: Quoted<'_>) -> Result<[usize; 2]> {
    let at = cursor.at();
    let n_dims = cursor.u32(format_args!("rank of tensor {name}"))?;
    if !(1..=MAX_DIMS).contains(&n_dims) {
        let message = format!("tensor {name} has {n_dims} dimensions, expected 1 to {MAX_DIMS}");
        return Err(cursor.invalid(at, message));
    }
    let cols = read_dim(cursor, name)?;
    let mut rows: usize = 1;
    for _ in 1..n_dims {
        let at = cursor.at();
        let dim = read_dim(cursor, name)?;
        rows = rows
            .checked_mul(dim)
            .filter(|rows| rows.checked_mul(cols).is_some())
            .ok_or_else(|| {
                cursor.invalid(
                    at,
                    format_args!("dimensions of tensor {name} overflow when multiplied"),
                )
            })?;
    }
    Ok([rows, cols])
}

fn read_dim(cursor: &mut Cursor<'_>, name: Quoted<'_>) -> Result<usize> {
    let at = cursor.at();
    let dim = cursor.u64(format_args!("a dimension of tensor {name}"))?;
    match i64::try_from(dim)
        .ok()
        .and_then(|n| usize::try_from(n).ok())
    {
        Some(n) if n > 0 => Ok(n),
        _ => Err(cursor.invalid(
            at,
            format_args!(
                "a dimension of tensor {name} is {}, expected 1 or more",
                dim as i64
            ),
        )),
    }
}

fn read_dtype(cursor: &mut Cursor<'_>, path: &Path, name: Quoted<'_>) -> Result<DType> {
    let at = cursor.at();
    let id = cursor.u32(format_args!("type of tensor {name}"))?;
    match TensorType::from_id(id) {
        Some(TensorType::Supported(dtype)) => Ok(dtype),
        Some(TensorType::Unsupported(type_name)) => {
            let supported = DType::ALL.map(DType::name).join(", ");
            let message =
                format!("tensor {name} has type {type_name}; supported types are {supported}");
            Err(Error::unsupported(path, message))
        }
        None => Err(cursor.invalid(
            at,
            format_args!("tensor {name} has type {id}, which ggml does not define"),
        )),
    }
}
