//! Configuration values by key, whatever kind of file holds them.

use std::fmt::Display;
use std::ops::RangeInclusive;

use crate::{Error, Result};

/// The keys of one configuration, read with the type and the bounds that the
/// caller expects. A missing key and a JSON `null` are both `None`.
pub(super) trait Fields {
    /// The integer at `key` if it is in `bounds`, and an error if it is not.
    fn integer(&self, key: &str, bounds: RangeInclusive<usize>) -> Result<Option<usize>>;

    /// The number at `key` if it is in `bounds`, and an error if it is not.
    fn number(&self, key: &str, bounds: RangeInclusive<f32>) -> Result<Option<f32>>;

    /// The boolean at `key`.
    fn flag(&self, key: &str) -> Result<Option<bool>>;

    /// The text at `key`.
    fn text(&self, key: &str) -> Result<Option<&str>>;

    /// An [`Error::Invalid`]: where and what the value of `key` is, and what was expected.
    fn invalid(&self, key: &str, expected: impl Display) -> Error;

    /// An [`Error::Unsupported`] about the value of `key`.
    fn unsupported(&self, key: &str, supported: impl Display) -> Error;

    /// [`Fields::integer`] of a key that must be there.
    fn require_integer(&self, key: &str, bounds: RangeInclusive<usize>) -> Result<usize> {
        self.integer(key, bounds.clone())?
            .ok_or_else(|| self.invalid(key, integer_in(&bounds)))
    }

    /// [`Fields::number`] of a key that must be there.
    fn require_number(&self, key: &str, bounds: RangeInclusive<f32>) -> Result<f32> {
        self.number(key, bounds.clone())?
            .ok_or_else(|| self.invalid(key, number_in(&bounds)))
    }
}

pub(super) fn integer_in(bounds: &RangeInclusive<usize>) -> String {
    format!("an integer from {} to {}", bounds.start(), bounds.end())
}

pub(super) fn number_in(bounds: &RangeInclusive<f32>) -> String {
    format!("a number from {:e} to {:e}", bounds.start(), bounds.end())
}
