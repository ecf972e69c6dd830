//! Rows on standard output, in the format asked for.

use std::io;

use clap::ValueEnum;
use serde_json::Value;

use super::markdown;
use super::row::Row;
use crate::failure::Result;
use crate::output::Output;

// Variants have no doc comments: clap would turn the help of every flag into a page.

/// A format of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Md,
    Csv,
    Json,
    Jsonl,
}

/// Writes each row when it is there.
pub struct Writer {
    format: Format,
    output: Output,
    rows: usize,
}

impl Writer {
    /// Nothing written yet.
    pub fn new(format: Format, output: Output) -> Self {
        Self {
            format,
            output,
            rows: 0,
        }
    }

    /// Writes `row`, and before the first what stands above the rows.
    ///
    /// # Errors
    /// [`crate::failure::Failure::Output`].
    pub fn row(&mut self, row: &Row<'_>) -> Result<()> {
        let first = self.rows == 0;
        self.rows += 1;
        let text = match self.format {
            Format::Md if first => markdown::head() + &markdown::row(row),
            Format::Md => markdown::row(row),
            Format::Csv => csv(row, first)?,
            Format::Json => {
                let before = if first { "[\n" } else { ",\n" };
                before.to_owned() + &json(row)?
            }
            Format::Jsonl => json(row)? + "\n",
        };
        self.output.text(&text)
    }

    /// Writes what stands below the rows.
    ///
    /// # Errors
    /// [`crate::failure::Failure::Output`].
    pub fn finish(mut self) -> Result<()> {
        match self.format {
            Format::Json => self.output.text("\n]\n"),
            Format::Md | Format::Csv | Format::Jsonl => Ok(()),
        }
    }
}

fn json(row: &Row<'_>) -> Result<String> {
    Ok(serde_json::to_string(row).map_err(io::Error::from)?)
}

/// The fields of the JSON object that are no objects or lists themselves.
fn csv(row: &Row<'_>, titles: bool) -> Result<String> {
    let fields = match serde_json::to_value(row).map_err(io::Error::from)? {
        Value::Object(fields) => fields,
        _ => serde_json::Map::new(),
    };
    let plain = fields.iter().filter_map(|(key, value)| match value {
        Value::Object(_) | Value::Array(_) => None,
        Value::Null => Some((key.as_str(), String::new())),
        Value::String(text) => Some((key.as_str(), text.clone())),
        value => Some((key.as_str(), value.to_string())),
    });
    let (keys, values): (Vec<&str>, Vec<String>) = plain.unzip();
    let mut writer = csv::Writer::from_writer(Vec::new());
    if titles {
        writer.write_record(&keys).map_err(io::Error::from)?;
    }
    writer.write_record(&values).map_err(io::Error::from)?;
    let bytes = writer
        .into_inner()
        .map_err(|e| io::Error::other(e.to_string()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
