//! Metadata values as Rust types.

use super::value::Value;

/// What a metadata value can be read as.
pub trait FromValue<'a>: Sized {
    /// The type as error messages name it.
    fn expected() -> String;

    /// The value, or `None` if it is of another type or out of range.
    fn from_value(value: Value<'a>) -> Option<Self>;
}

macro_rules! integers {
    ($($t:ident $name:literal),*) => {$(
        impl FromValue<'_> for $t {
            fn expected() -> String {
                $name.to_owned()
            }

            fn from_value(value: Value<'_>) -> Option<Self> {
                match value {
                    Value::Integer(n) => n.try_into().ok(),
                    _ => None,
                }
            }
        }
    )*};
}
integers!(u32 "an unsigned 32-bit integer", i32 "a signed 32-bit integer", u64 "an unsigned 64-bit integer");

impl FromValue<'_> for f32 {
    fn expected() -> String {
        "a float".to_owned()
    }

    fn from_value(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Float(x) => Some(x as f32),
            _ => None,
        }
    }
}

impl FromValue<'_> for bool {
    fn expected() -> String {
        "a bool".to_owned()
    }

    fn from_value(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Bool(b) => Some(b),
            _ => None,
        }
    }
}

impl<'a> FromValue<'a> for &'a str {
    fn expected() -> String {
        "a string".to_owned()
    }

    fn from_value(value: Value<'a>) -> Option<Self> {
        match value {
            Value::Str(s) => Some(s),
            _ => None,
        }
    }
}

impl<'a, T: FromValue<'a>> FromValue<'a> for Vec<T> {
    fn expected() -> String {
        format!("an array, each element {}", T::expected())
    }

    fn from_value(value: Value<'a>) -> Option<Self> {
        match value {
            Value::Array(a) => a.to_vec(),
            _ => None,
        }
    }
}
