//! The header of one safetensors file.
//!
//! Layout: the header's length as a little-endian `u64`, the header as a JSON
//! object from tensor names to descriptions, then the data without gaps. The
//! crate `safetensors` defines the element types.

use std::fmt;
use std::path::Path;

use safetensors::Dtype;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};

use super::pairs::Pairs;
use crate::hf::quoted;
use crate::{Error, Result};

/// The format's limit on the header.
const MAX_HEADER: u64 = 100_000_000;
const MAX_RANK: usize = 8;
const LENGTH_BYTES: usize = 8;

/// A tensor whose bytes are known to be inside the file.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// First byte in the file.
    pub(super) start: usize,
}

/// What the header says of one tensor.
#[derive(Deserialize)]
struct Description {
    dtype: Dtype,
    shape: Shape,
    /// First byte and the one after the last, counted from the end of the header.
    data_offsets: (usize, usize),
}

/// Reads the header of `file`, the contents of `path`, and checks that its
/// tensors fill the rest of the file exactly.
pub(super) fn read(path: &Path, file: &[u8]) -> Result<Vec<(String, Entry)>> {
    let header = header(file).map_err(|what| Error::invalid(path, what))?;
    let data = LENGTH_BYTES + header.len();
    let Pairs(pairs) = serde_json::from_str(header)
        .map_err(|e| Error::invalid(path, format!("header, from byte {LENGTH_BYTES}: {e}")))?;
    let mut tensors = Vec::with_capacity(pairs.len());
    for (name, description) in pairs {
        if name == "__metadata__" {
            continue;
        }
        let at = description.get().as_ptr() as usize - file.as_ptr() as usize;
        let description: Description = serde_json::from_str(description.get()).map_err(|e| {
            let name = quoted(&name);
            Error::invalid(path, format!("tensor {name}, described at byte {at}: {e}"))
        })?;
        tensors.push((name, description));
    }
    tensors.sort_by_key(|(_, description)| description.data_offsets);
    place(tensors, data, file.len()).map_err(|what| Error::invalid(path, what))
}

/// The header's text.
fn header(file: &[u8]) -> Result<&str, String> {
    let Some((length, rest)) = file.split_first_chunk::<LENGTH_BYTES>() else {
        let n = file.len();
        return Err(format!("{n} bytes are too short for a safetensors file"));
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER {
        return Err(format!(
            "header length {length} is above the limit of {MAX_HEADER}"
        ));
    }
    let bytes = rest.get(..length as usize).ok_or_else(|| {
        let left = rest.len();
        format!("header length is {length}, but only {left} bytes follow")
    })?;
    std::str::from_utf8(bytes).map_err(|e| {
        let at = LENGTH_BYTES + e.valid_up_to();
        format!("header is not UTF-8 at byte {at}")
    })
}

/// Checks descriptions in order of their offsets; data goes from byte `data` of
/// the file to byte `end`.
fn place(
    tensors: Vec<(String, Description)>,
    data: usize,
    end: usize,
) -> Result<Vec<(String, Entry)>, String> {
    let mut next = data;
    let mut entries = Vec::with_capacity(tensors.len());
    for (name, description) in tensors {
        let wrong = |what: String| format!("tensor {}: {what}", quoted(&name));
        let size = size(&description).map_err(wrong)?;
        let (from, to) = description.data_offsets;
        if from.checked_add(size) != Some(to) {
            let what =
                format!("data_offsets {from} to {to} do not hold the {size} bytes of its shape");
            return Err(wrong(what));
        }
        let start = data.checked_add(from);
        if start != Some(next) {
            let what = format!(
                "data_offsets start at {from}, expected {}: a gap or an overlap",
                next - data
            );
            return Err(wrong(what));
        }
        let start = next;
        next = start
            .checked_add(size)
            .filter(|&next| next <= end)
            .ok_or_else(|| {
                wrong(format!(
                    "{size} bytes at byte {start} pass the end of the file, {end}"
                ))
            })?;
        let entry = Entry {
            dtype: description.dtype,
            shape: description.shape.0,
            start,
        };
        entries.push((name, entry));
    }
    match end - next {
        0 => Ok(entries),
        n => Err(format!("{n} bytes from byte {next} on belong to no tensor")),
    }
}

/// Bytes that a tensor of this shape and type takes.
fn size(description: &Description) -> Result<usize, String> {
    let Description { dtype, shape, .. } = description;
    let mut dims = shape.0.iter();
    let elements = dims.try_fold(1usize, |n, &dim| n.checked_mul(dim));
    let bits = elements.and_then(|n| n.checked_mul(dtype.bitsize()));
    match bits {
        Some(bits) if bits % 8 == 0 => Ok(bits / 8),
        Some(_) => Err(format!("shape {:?} of {dtype} is not whole bytes", shape.0)),
        None => Err(format!("shape {:?} of {dtype} overflows", shape.0)),
    }
}

/// Dimensions, outermost first; their number is limited while they are read.
struct Shape(Vec<usize>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MAX_RANK} dimensions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Shape, A::Error> {
        let mut dims = Vec::new();
        while let Some(dim) = seq.next_element()? {
            if dims.len() == MAX_RANK {
                return Err(A::Error::invalid_length(MAX_RANK + 1, &self));
            }
            dims.push(dim);
        }
        Ok(Shape(dims))
    }
}
