//! Standard output.

use std::io::{self, StdoutLock, Write};

use serde::Serialize;

use crate::failure::Result;

/// Text as it is made, or JSON at the end.
pub enum Output {
    /// Text is shown at once.
    Text(StdoutLock<'static>),
    /// Text is kept for the JSON object.
    Json(StdoutLock<'static>),
}

impl Output {
    /// Takes standard output.
    pub fn new(json: bool) -> Self {
        let stdout = io::stdout().lock();
        if json {
            Self::Json(stdout)
        } else {
            Self::Text(stdout)
        }
    }

    /// Shows text, unless JSON is wanted.
    ///
    /// # Errors
    /// [`crate::failure::Failure::Output`].
    pub fn text(&mut self, text: &str) -> Result<()> {
        self.bytes(text.as_bytes())
    }

    /// Shows text that another crate wrote, unless JSON is wanted.
    ///
    /// # Errors
    /// [`crate::failure::Failure::Output`].
    pub fn bytes(&mut self, text: &[u8]) -> Result<()> {
        if let Self::Text(out) = self {
            out.write_all(text)?;
            out.flush()?;
        }
        Ok(())
    }

    /// Writes `value` in one line, if JSON is wanted.
    ///
    /// # Errors
    /// [`crate::failure::Failure::Output`].
    pub fn json(&mut self, value: &impl Serialize) -> Result<()> {
        if let Self::Json(out) = self {
            serde_json::to_writer(&mut *out, value).map_err(io::Error::from)?;
            out.write_all(b"\n")?;
            out.flush()?;
        }
        Ok(())
    }
}
