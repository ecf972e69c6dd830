//! Fields of a Hugging Face `config.json`.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;

use serde_json::{Map, Value};

use super::fields::{Fields, integer_in, number_in};
use crate::{Error, Result};

/// The longest value that an error message repeats, in characters.
const SHOWN: usize = 60;

/// A JSON object of a configuration file.
#[derive(Clone, Copy)]
pub(super) struct HfFields<'a> {
    path: &'a Path,
    /// Key of this object and a dot, or nothing for the outermost.
    prefix: &'a str,
    object: &'a Map<String, Value>,
}

impl<'a> HfFields<'a> {
    pub(super) fn new(path: &'a Path, object: &'a Map<String, Value>) -> Self {
        Self {
            path,
            prefix: "",
            object,
        }
    }

    /// The object at `key`, whose keys errors will prefix with `prefix`.
    pub(super) fn object(&self, key: &str, prefix: &'a str) -> Result<Option<Self>> {
        let object = self.get(key, Value::as_object, || "an object".to_owned())?;
        Ok(object.map(|object| Self {
            object,
            prefix,
            ..*self
        }))
    }

    /// The list of strings at `key`.
    pub(super) fn texts(&self, key: &str) -> Result<Option<Vec<&'a str>>> {
        let read = |value: &'a Value| value.as_array()?.iter().map(Value::as_str).collect();
        self.get(key, read, || "a list of strings".to_owned())
    }

    /// Whether `key` has a value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.object.get(key).is_some_and(|value| !value.is_null())
    }

    fn get<T>(
        &self,
        key: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
        expected: impl FnOnce() -> String,
    ) -> Result<Option<T>> {
        match self.object.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match read(value) {
                Some(value) => Ok(Some(value)),
                None => Err(self.invalid(key, expected())),
            },
        }
    }

    fn shown(&self, key: &str) -> String {
        let Some(value) = self.object.get(key) else {
            return "missing".to_owned();
        };
        let mut shown = value.to_string();
        if let Some((end, _)) = shown.char_indices().nth(SHOWN) {
            shown.truncate(end);
            shown.push('…');
        }
        shown
    }
}

impl Fields for HfFields<'_> {
    fn integer(&self, key: &str, bounds: RangeInclusive<usize>) -> Result<Option<usize>> {
        let read = |value: &Value| {
            let n = usize::try_from(value.as_u64()?).ok()?;
            bounds.contains(&n).then_some(n)
        };
        self.get(key, read, || integer_in(&bounds))
    }

    fn number(&self, key: &str, bounds: RangeInclusive<f32>) -> Result<Option<f32>> {
        let read = |value: &Value| {
            let x = value.as_f64()? as f32;
            bounds.contains(&x).then_some(x)
        };
        self.get(key, read, || number_in(&bounds))
    }

    fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.get(key, Value::as_bool, || "true or false".to_owned())
    }

    fn text(&self, key: &str) -> Result<Option<&str>> {
        self.get(key, Value::as_str, || "a string".to_owned())
    }

    fn invalid(&self, key: &str, expected: impl Display) -> Error {
        let (prefix, shown) = (self.prefix, self.shown(key));
        Error::invalid(
            self.path,
            format!("{prefix}{key} is {shown}, expected {expected}"),
        )
    }

    fn unsupported(&self, key: &str, supported: impl Display) -> Error {
        let (prefix, shown) = (self.prefix, self.shown(key));
        Error::unsupported(
            self.path,
            format!("{prefix}{key} is {shown}; supported: {supported}"),
        )
    }
}
