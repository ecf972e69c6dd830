//! Weights that must be refused: the file, the tensor and the offset are named.

use kcache_models::Error;
use serde_json::{Map, Value, json};

use crate::folder::{Folder, SINGLE, WEIGHTS};

const EMBEDDING: &str = "model.embed_tokens.weight";

fn folder() -> Folder {
    Folder::copy_of(SINGLE)
}

/// The file with another header.
#[track_caller]
fn refused(change: impl FnOnce(&mut Map<String, Value>), expected: &str) {
    folder().header(change).refused(WEIGHTS, expected);
}

/// The file with the raw text of a header.
#[track_caller]
fn raw(header: &[u8], expected: &str) {
    let folder = folder();
    let (_, data) = folder.weights();
    folder
        .raw_header(header.len() as u64, header, &data)
        .refused(WEIGHTS, expected);
}

#[test]
fn files_too_short_for_a_header() {
    folder().write(WEIGHTS, b"").refused(WEIGHTS, "empty");
    folder()
        .write(WEIGHTS, b"1234567")
        .refused(WEIGHTS, "7 bytes are too short");
}

#[test]
fn lengths_of_the_header() {
    for (length, expected) in [
        (0, "header, from byte 8: EOF"),
        (1, "header, from byte 8: EOF"),
        (99_999_999, "header length is 99999999, but only "),
        (
            100_000_001,
            "header length 100000001 is above the limit of 100000000",
        ),
        (
            1 << 63,
            "header length 9223372036854775808 is above the limit",
        ),
        (
            u64::MAX,
            "header length 18446744073709551615 is above the limit",
        ),
    ] {
        let change = |file: &mut Vec<u8>| file[..8].copy_from_slice(&u64::to_le_bytes(length));
        folder().bytes(WEIGHTS, change).refused(WEIGHTS, expected);
    }
}

#[test]
fn headers_that_are_no_object() {
    raw(b"{\"a\": \xff}", "header is not UTF-8 at byte 14");
    raw(b"hello", "header, from byte 8: expected value");
    raw(b"[]", "header, from byte 8: invalid type: sequence");
    raw(b"{} trailing", "header, from byte 8: trailing characters");
    raw(
        &b"[".repeat(1_000_000),
        "header, from byte 8: invalid type: sequence",
    );
    let nested = [
        b"{\"x\":",
        &b"[".repeat(1_000_000)[..],
        &b"]".repeat(1_000_000),
        b"}",
    ]
    .concat();
    raw(&nested, "tensor \"x\", described at byte 13: ");
}

#[test]
fn names_listed_twice() {
    let (header, _) = folder().weights();
    let entry = &header[EMBEDDING];
    raw(
        format!("{{\"{EMBEDDING}\": {entry}, \"{EMBEDDING}\": {entry}}}").as_bytes(),
        "\"model.embed_tokens.weight\" is listed twice",
    );
}

#[test]
fn descriptions_of_another_form() {
    for (description, expected) in [
        (json!(3), "invalid type: integer"),
        (json!({}), "missing field `dtype`"),
        (
            json!({"dtype": "F16", "shape": [1]}),
            "missing field `data_offsets`",
        ),
        (
            json!({"dtype": "F17", "shape": [1], "data_offsets": [0, 2]}),
            "unknown variant `F17`",
        ),
        (
            json!({"dtype": "F16", "shape": [-1], "data_offsets": [0, 2]}),
            "integer `-1`",
        ),
        (
            json!({"dtype": "F16", "shape": [1.5], "data_offsets": [0, 2]}),
            "1.5",
        ),
        (
            json!({"dtype": "F16", "shape": 1, "data_offsets": [0, 2]}),
            "at most 8 dimensions",
        ),
        (
            json!({"dtype": "F16", "shape": vec![1; 9], "data_offsets": [0, 2]}),
            "at most 8 dimensions",
        ),
        (
            json!({"dtype": "F16", "shape": [1], "data_offsets": [-2, 0]}),
            "integer `-2`",
        ),
        (
            json!({"dtype": "F16", "shape": [1], "data_offsets": [0]}),
            "length 1",
        ),
        (
            json!({"dtype": "F16", "shape": [1], "data_offsets": [0, u64::MAX]}),
            "do not hold",
        ),
    ] {
        let message = format!("tensor \"{EMBEDDING}\"");
        folder()
            .header(|h| h[EMBEDDING] = description.clone())
            .refused(WEIGHTS, &message);
        refused(|h| h[EMBEDDING] = description, expected);
    }
}

#[test]
fn shapes_that_do_not_fit_their_bytes() {
    let big = u64::MAX / 2;
    for (shape, expected) in [
        (json!([320, 63]), "do not hold the 40320 bytes of its shape"),
        (
            json!([big, 3]),
            "shape [9223372036854775807, 3] of F16 overflows",
        ),
        (json!([big]), "overflows"),
        (json!([0, 64]), "do not hold the 0 bytes of its shape"),
        (json!([]), "do not hold the 2 bytes of its shape"),
    ] {
        refused(|h| h[EMBEDDING]["shape"] = shape, expected);
    }
}

#[test]
fn offsets_that_do_not_fill_the_file() {
    let last = |h: &Map<String, Value>| {
        let end = |t: &Value| t["data_offsets"][1].as_u64().unwrap();
        let (name, tensor) = h
            .iter()
            .filter(|(k, _)| *k != "__metadata__")
            .max_by_key(|(_, t)| end(t))
            .unwrap();
        (
            name.clone(),
            tensor["data_offsets"][0].as_u64().unwrap(),
            end(tensor),
        )
    };
    let shift = |by: i64| {
        move |h: &mut Map<String, Value>| {
            let (name, start, end) = last(h);
            let moved = [start.wrapping_add_signed(by), end.wrapping_add_signed(by)];
            h[&name]["data_offsets"] = json!(moved);
        }
    };
    refused(shift(2), "a gap or an overlap");
    refused(shift(-2), "a gap or an overlap");
    refused(shift(1 << 40), "a gap or an overlap");
    let reversed = |h: &mut Map<String, Value>| {
        let (name, start, end) = last(h);
        h[&name]["data_offsets"] = json!([end, start]);
    };
    refused(reversed, "do not hold the");
    let huge = |h: &mut Map<String, Value>| {
        let (name, ..) = last(h);
        h[&name]["data_offsets"] = json!([u64::MAX - 1, u64::MAX]);
    };
    refused(huge, "do not hold the");
    let dropped = |h: &mut Map<String, Value>| {
        let (name, ..) = last(h);
        h.remove(&name);
    };
    refused(dropped, "belong to no tensor");
    let doubled = |h: &mut Map<String, Value>| {
        let (name, ..) = last(h);
        let copy = h[&name].clone();
        h.insert("copy".to_owned(), copy);
    };
    refused(doubled, "a gap or an overlap");
}

#[test]
fn files_of_another_length() {
    for cut in [1, 4096] {
        let change = |file: &mut Vec<u8>| file.truncate(file.len() - cut);
        folder()
            .bytes(WEIGHTS, change)
            .refused(WEIGHTS, "pass the end of the file");
    }
    let longer = |file: &mut Vec<u8>| file.push(0);
    folder()
        .bytes(WEIGHTS, longer)
        .refused(WEIGHTS, "1 bytes from byte ");
}

#[test]
fn used_tensors_of_another_type_or_rank() {
    let change = |dtype: &'static str, shape: Value| {
        move |h: &mut Map<String, Value>| {
            h[EMBEDDING]["dtype"] = json!(dtype);
            h[EMBEDDING]["shape"] = shape;
        }
    };
    let integers = folder().header(change("I16", json!([320, 64])));
    integers.refused(WEIGHTS, "has type I16; F32, F16 and BF16 are supported");
    assert!(matches!(integers.open(), Err(Error::Unsupported { .. })));
    refused(
        change("F16", json!([320, 8, 8])),
        "has shape [320, 8, 8], expected one or two dimensions",
    );
    refused(change("F16", json!([64, 320])), EMBEDDING);
}

/// Buffers that the model does not use may be of any type and rank.
#[test]
fn unused_tensors_are_left_alone() {
    let folder = folder();
    let (mut header, mut data) = folder.weights();
    let end = data.len();
    header.insert(
        "mask".into(),
        json!({"dtype": "BOOL", "shape": [1, 1, 2, 2], "data_offsets": [end, end + 4]}),
    );
    header.insert(
        "step".into(),
        json!({"dtype": "I64", "shape": [], "data_offsets": [end + 4, end + 12]}),
    );
    header.insert(
        "none".into(),
        json!({"dtype": "F32", "shape": [0], "data_offsets": [end + 12, end + 12]}),
    );
    header.insert("__metadata__".into(), json!({"format": "pt"}));
    data.extend([0; 12]);
    let header = Value::Object(header).to_string();
    // An odd length leaves every tensor unaligned.
    let header = format!("{header:<width$}", width = header.len() | 1);
    let folder = folder.raw_header(header.len() as u64, header.as_bytes(), &data);
    folder.open().unwrap_or_else(|e| panic!("{e}"));
}

/// Every byte of the header in turn replaced: an error or a sound checkpoint, never a panic.
#[test]
fn any_one_byte_may_be_wrong() {
    let folder = folder();
    let (header, data) = folder.weights();
    let header = Value::Object(header).to_string();
    let mut folder = folder;
    let mut refused = 0;
    for at in (0..header.len()).step_by(29) {
        for byte in [b'0', b'"', b'}', 0xff] {
            let mut broken = header.clone().into_bytes();
            broken[at] = byte;
            folder = folder.raw_header(broken.len() as u64, &broken, &data);
            refused += usize::from(folder.open().is_err());
        }
    }
    assert!(refused > header.len() / 29, "only {refused} were refused");
}
