//! GGUF: one file with metadata, vocabulary and tensors.
//!
//! Layout after the format's specification (ggml, `docs/gguf.md`), versions 2
//! and 3, little-endian: header, key-value pairs, tensor descriptions, and
//! after padding the tensor data. Nothing is copied out of the mapped file but
//! an index of where keys and tensors are.

mod cursor;
mod file;
mod from_value;
mod header;
mod tensors;
mod types;
mod value;

pub use file::GgufFile;
pub use from_value::FromValue;
pub use value::{Array, Value};
