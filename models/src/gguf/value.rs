//! Typed metadata values.

use std::fmt::{self, Display};

use super::cursor::Cursor;
use super::from_value::FromValue;
use crate::Result;

/// The type of a value or of an array's elements, as numbered in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    Array,
    U64,
    I64,
    F64,
}

impl ValueType {
    const ALL: [Self; 13] = [
        Self::U8,
        Self::I8,
        Self::U16,
        Self::I16,
        Self::U32,
        Self::I32,
        Self::F32,
        Self::Bool,
        Self::String,
        Self::Array,
        Self::U64,
        Self::I64,
        Self::F64,
    ];

    pub(super) fn read(cursor: &mut Cursor<'_>, what: impl Display) -> Result<Self> {
        let at = cursor.at();
        let id = cursor.u32(&what)?;
        let known = usize::try_from(id).ok().and_then(|id| Self::ALL.get(id));
        known.copied().ok_or_else(|| {
            cursor.invalid(
                at,
                format_args!("{what} is {id}, but types end at {}", Self::ALL.len() - 1),
            )
        })
    }

    /// Bytes of the smallest value.
    const fn min_bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::String | Self::U64 | Self::I64 | Self::F64 => 8,
            Self::Array => 12,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::U8 => "uint8",
            Self::I8 => "int8",
            Self::U16 => "uint16",
            Self::I16 => "int16",
            Self::U32 => "uint32",
            Self::I32 => "int32",
            Self::F32 => "float32",
            Self::Bool => "bool",
            Self::String => "string",
            Self::Array => "array",
            Self::U64 => "uint64",
            Self::I64 => "int64",
            Self::F64 => "float64",
        }
    }
}

/// One metadata value; text and arrays are borrowed from the mapped file.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// Any of the eight integer types.
    Integer(i128),
    /// A 32- or 64-bit float.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// UTF-8 text.
    Str(&'a str),
    /// A list of values of one type.
    Array(Array<'a>),
}

impl<'a> Value<'a> {
    /// Reads and checks the value that `cursor` stands at, arrays through to
    /// their last element. `key` names the value in errors.
    pub(super) fn read(cursor: &mut Cursor<'a>, of: ValueType, key: Quoted<'_>) -> Result<Self> {
        Ok(match of {
            ValueType::U8 => Self::Integer(u8::from_le_bytes(cursor.array(key)?).into()),
            ValueType::I8 => Self::Integer(i8::from_le_bytes(cursor.array(key)?).into()),
            ValueType::U16 => Self::Integer(u16::from_le_bytes(cursor.array(key)?).into()),
            ValueType::I16 => Self::Integer(i16::from_le_bytes(cursor.array(key)?).into()),
            ValueType::U32 => Self::Integer(cursor.u32(key)?.into()),
            ValueType::I32 => Self::Integer(i32::from_le_bytes(cursor.array(key)?).into()),
            ValueType::U64 => Self::Integer(cursor.u64(key)?.into()),
            ValueType::I64 => Self::Integer(i64::from_le_bytes(cursor.array(key)?).into()),
            ValueType::F32 => Self::Float(f32::from_le_bytes(cursor.array(key)?).into()),
            ValueType::F64 => Self::Float(f64::from_le_bytes(cursor.array(key)?)),
            ValueType::Bool => Self::Bool(read_bool(cursor, key)?),
            ValueType::String => Self::Str(cursor.string(key)?),
            ValueType::Array => Self::Array(Array::read(cursor, key)?),
        })
    }
}

fn read_bool(cursor: &mut Cursor<'_>, key: Quoted<'_>) -> Result<bool> {
    let at = cursor.at();
    match cursor.array::<1>(key)? {
        [0] => Ok(false),
        [1] => Ok(true),
        [n] => Err(cursor.invalid(
            at,
            format_args!("{key} holds {n} as a bool, expected 0 or 1"),
        )),
    }
}

/// A checked list of values of one type, still in the file.
#[derive(Clone, Copy, Debug)]
pub struct Array<'a> {
    element: ValueType,
    len: usize,
    first: Cursor<'a>,
}

impl<'a> Array<'a> {
    fn read(cursor: &mut Cursor<'a>, key: Quoted<'_>) -> Result<Self> {
        let at = cursor.at();
        let element = ValueType::read(cursor, format_args!("element type of {key}"))?;
        if element == ValueType::Array {
            return Err(cursor.invalid(
                at,
                format_args!("{key} is an array of arrays, expected scalars or strings"),
            ));
        }
        let len = cursor.count(element.min_bytes(), format_args!("length of {key}"))?;
        let first = *cursor;
        for _ in 0..len {
            Value::read(cursor, element, key)?;
        }
        Ok(Self {
            element,
            len,
            first,
        })
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The elements, or `None` if one is no `T`.
    pub(super) fn to_vec<T: FromValue<'a>>(self) -> Option<Vec<T>> {
        let mut cursor = self.first;
        let mut elements = Vec::with_capacity(self.len);
        for _ in 0..self.len {
            let value = Value::read(&mut cursor, self.element, Quoted("element")).ok()?;
            elements.push(T::from_value(value)?);
        }
        Some(elements)
    }
}

/// The longest text that an error message repeats, in characters.
const SHOWN: usize = 60;

impl Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(n) => write!(f, "the integer {n}"),
            Self::Float(x) => write!(f, "the float {x}"),
            Self::Bool(b) => write!(f, "the bool {b}"),
            Self::Str(s) => write!(f, "the string {}", Quoted(s)),
            Self::Array(a) => write!(f, "an array of {} {} elements", a.len, a.element.name()),
        }
    }
}

/// Text of a file as an error message shows it: quoted, escaped and cut.
#[derive(Clone, Copy)]
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(SHOWN) {
            Some((end, _)) => write!(f, "{:?}…", &self.0[..end]),
            None => write!(f, "{:?}", self.0),
        }
    }
}
