//! Methods that Python has on strings, lists and dictionaries.

use minijinja::{Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

/// Bytes of data that one unit of fuel pays for.
const BYTES_PER_FUEL: usize = 64;
/// Bytes of a short string in a list.
const ITEM_BYTES: usize = 64;
/// The widest field of `str.format`, and the most digits of such a number.
const FIELD: (usize, usize) = (10_000, 4);

/// Calls a method after paying for what it will allocate: the engine counts the
/// result only once it exists.
pub(super) fn call(
    state: &mut State<'_, '_>,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    if let Some(text) = value.as_str() {
        let bytes = match method {
            "format" => format_bytes(text)?,
            _ => bytes_made(text, method, args),
        };
        state.consume_fuel((bytes / BYTES_PER_FUEL) as u64)?;
    }
    unknown_method_callback(state, value, method, args)
}

/// An upper bound of what `method` makes of `text`, besides a copy.
fn bytes_made(text: &str, method: &str, args: &[Value]) -> usize {
    let arg = |i: usize| args.get(i).and_then(Value::as_str);
    match method {
        "replace" => match (arg(0), arg(1)) {
            (Some(old), Some(new)) => text.matches(old).count().saturating_mul(new.len()),
            _ => 0,
        },
        "split" => match arg(0) {
            Some(separator) => text.matches(separator).count() * ITEM_BYTES,
            None => text.split_whitespace().count() * ITEM_BYTES,
        },
        "splitlines" => text.lines().count() * ITEM_BYTES,
        "join" => args.first().map_or(0, |items| joined_bytes(text, items)),
        _ => 0,
    }
}

fn joined_bytes(separator: &str, items: &Value) -> usize {
    let Ok(items) = items.try_iter() else {
        return 0;
    };
    let bytes = |item: Value| item.as_str().map_or(0, str::len) + separator.len();
    items.map(bytes).fold(0, usize::saturating_add)
}

/// As [`bytes_made`], for `str.format`, whose fields have widths.
fn format_bytes(text: &str) -> Result<usize, Error> {
    let (widest, digits) = FIELD;
    let longest = text
        .split(|c: char| !c.is_ascii_digit())
        .map(str::len)
        .max()
        .unwrap_or(0);
    if longest > digits {
        let message = format!("str.format: a number of more than {digits} digits");
        return Err(Error::new(ErrorKind::InvalidOperation, message));
    }
    let fields = text.matches('{').count();
    let wide = if longest > 2 { widest } else { 100 };
    Ok(fields * wide)
}
