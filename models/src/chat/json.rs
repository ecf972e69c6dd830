//! The `tojson` filter, written as Python's `json.dumps` writes.

use std::io::{self, Write};

use minijinja::value::Kwargs;
use minijinja::{Error, ErrorKind, State, Value};
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter, Serializer};

use super::Limited;

/// The longest result, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// Bytes of JSON that one unit of fuel pays for.
const BYTES_PER_FUEL: usize = 4;

/// The most blanks that one level of indentation may have.
const MAX_INDENT: usize = 16;

/// `value | tojson(indent=…, ensure_ascii=…)`. Unlike Jinja's own filter it does
/// not escape HTML; `ensure_ascii` is accepted and text is written as it is.
pub(super) fn to_json(
    state: &State<'_, '_>,
    value: &Value,
    options: Kwargs,
) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let _: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    let text = match indent {
        None => write(value, Spaced(CompactFormatter)),
        Some(n) if n <= MAX_INDENT => {
            let blanks = " ".repeat(n);
            write(value, PrettyFormatter::with_indent(blanks.as_bytes()))
        }
        Some(n) => Err(refused(format!("indent is {n}, above {MAX_INDENT}"))),
    }?;
    state.consume_fuel((text.len() / BYTES_PER_FUEL) as u64)?;
    Ok(Value::from(text))
}

fn write(value: &Value, formatter: impl Formatter) -> Result<String, Error> {
    let mut text = Limited::new(MAX_BYTES);
    value
        .serialize(&mut Serializer::with_formatter(&mut text, formatter))
        .map_err(|e| refused(e.to_string()))?;
    String::from_utf8(text.bytes).map_err(|e| refused(e.to_string()))
}

fn refused(why: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("tojson: {why}"))
}

/// One line, with a blank after commas and colons.
struct Spaced(CompactFormatter);

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + Write>(&mut self, w: &mut W, first: bool) -> io::Result<()> {
        w.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, w: &mut W, first: bool) -> io::Result<()> {
        w.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, w: &mut W) -> io::Result<()> {
        w.write_all(b": ")
    }
}
