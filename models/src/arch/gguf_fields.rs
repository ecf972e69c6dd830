//! Fields of a GGUF file's metadata.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;

use super::Architecture;
use super::fields::{Fields, integer_in, number_in};
use crate::gguf::GgufFile;
use crate::{Error, Result};

/// The metadata whose keys begin with the name of the architecture.
#[derive(Clone, Copy)]
pub(super) struct GgufFields<'a> {
    file: &'a GgufFile,
    architecture: Architecture,
}

impl<'a> GgufFields<'a> {
    pub(super) fn new(file: &'a GgufFile, architecture: Architecture) -> Self {
        Self { file, architecture }
    }

    pub(super) fn file(&self) -> &'a GgufFile {
        self.file
    }

    pub(super) fn path(&self) -> &'a Path {
        self.file.path()
    }

    fn full(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }
}

impl Fields for GgufFields<'_> {
    fn integer(&self, key: &str, bounds: RangeInclusive<usize>) -> Result<Option<usize>> {
        let Some(n) = self.file.get::<u64>(&self.full(key))? else {
            return Ok(None);
        };
        match usize::try_from(n) {
            Ok(n) if bounds.contains(&n) => Ok(Some(n)),
            _ => Err(self.invalid(key, integer_in(&bounds))),
        }
    }

    fn number(&self, key: &str, bounds: RangeInclusive<f32>) -> Result<Option<f32>> {
        match self.file.get::<f32>(&self.full(key))? {
            Some(x) if !bounds.contains(&x) => Err(self.invalid(key, number_in(&bounds))),
            found => Ok(found),
        }
    }

    fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.file.get(&self.full(key))
    }

    fn text(&self, key: &str) -> Result<Option<&str>> {
        self.file.get(&self.full(key))
    }

    fn invalid(&self, key: &str, expected: impl Display) -> Error {
        self.file.invalid(&self.full(key), expected)
    }

    fn unsupported(&self, key: &str, supported: impl Display) -> Error {
        self.file.unsupported(&self.full(key), supported)
    }
}
