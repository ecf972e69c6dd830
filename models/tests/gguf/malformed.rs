//! Broken GGUF files: each is one clear error, never a panic.

use crate::builder::{Gguf, array, kind, string, write};
use kcache_models::Error;
use kcache_models::arch::TensorSource;
use kcache_models::gguf::GgufFile;

/// One F32 tensor of two elements.
fn sound() -> Gguf {
    Gguf::new().floats("t", &[2], &[1.0, 2.0])
}

fn refuse(bytes: &[u8]) -> Error {
    let (_dir, path) = write(bytes);
    GgufFile::open(&path).expect_err("opened a broken file")
}

/// The error is [`Error::Invalid`], and names file, offset and `expected`.
#[track_caller]
fn invalid(gguf: &Gguf, expected: &str) {
    let error = refuse(&gguf.bytes());
    let message = error.to_string();
    assert!(matches!(error, Error::Invalid { .. }), "{message}");
    for part in ["model.gguf: ", "at byte ", expected] {
        assert!(message.contains(part), "no `{part}` in: {message}");
    }
}

#[track_caller]
fn unsupported(gguf: &Gguf, expected: &str) {
    let error = refuse(&gguf.bytes());
    let message = error.to_string();
    assert!(matches!(error, Error::Unsupported { .. }), "{message}");
    for part in ["model.gguf: ", expected] {
        assert!(message.contains(part), "no `{part}` in: {message}");
    }
}

#[test]
fn files_of_another_kind() {
    let mut gguf = sound();
    gguf.magic = *b"GGML";
    let message = refuse(&gguf.bytes()).to_string();
    assert!(
        message.contains("not a GGUF file: starts with GGML"),
        "{message}"
    );
    let message = refuse(b"").to_string();
    assert!(message.contains("the file is empty"), "{message}");
    let message = refuse(b"GGU").to_string();
    assert!(
        message.contains("the magic takes 4 bytes, but only 3 are left"),
        "{message}"
    );
}

#[test]
fn other_versions_and_byte_order() {
    for (version, expected) in [
        (0, "version 0 is not supported"),
        (1, "version 1 is not supported; versions 2 and 3 are"),
        (4, "version 4 is not supported"),
        (u32::MAX, "version 4294967295 is not supported"),
        (3u32.swap_bytes(), "big-endian"),
    ] {
        let mut gguf = sound();
        gguf.version = version;
        unsupported(&gguf, expected);
    }
}

#[test]
fn counts_that_the_file_cannot_hold() {
    for n in [100, 1 << 40, 1 << 63, u64::MAX] {
        let mut gguf = sound();
        gguf.n_tensors = Some(n);
        invalid(&gguf, &format!("the number of tensors is {n}"));
        let mut gguf = sound();
        gguf.n_keys = Some(n);
        invalid(&gguf, &format!("the number of metadata keys is {n}"));
    }
}

#[test]
fn keys() {
    invalid(&sound().u32("", 1), "a metadata key has 0 bytes");
    let long = "k".repeat(65_536);
    invalid(
        &sound().u32(&long, 1),
        "a metadata key has 65536 bytes, expected 1 to 65535",
    );
    invalid(
        &sound().u32("k", 1).u32("a", 1).u32("k", 2),
        "key \"k\" is a duplicate",
    );
    invalid(
        &sound().raw([b'k', 0xff], kind::U32, &[0; 4]),
        "a metadata key is not UTF-8",
    );
    invalid(
        &sound().raw("k", 13, &[0; 8]),
        "type of \"k\" is 13, but types end at 12",
    );
    invalid(
        &sound().raw("k", u32::MAX, &[0; 8]),
        "type of \"k\" is 4294967295",
    );
}

#[test]
fn values() {
    invalid(
        &sound().raw("k", kind::BOOL, &[2]),
        "\"k\" holds 2 as a bool, expected 0 or 1",
    );
    invalid(
        &sound().raw("k", kind::STRING, &(1u64 << 40).to_le_bytes()),
        "\"k\" takes 1099511627776 bytes",
    );
    invalid(
        &sound().raw("k", kind::STRING, &u64::MAX.to_le_bytes()),
        "\"k\" takes",
    );
    invalid(
        &sound().raw("k", kind::STRING, &string(&[b'a', 0x80])),
        "\"k\" is not UTF-8",
    );
}

#[test]
fn arrays() {
    let huge = |element, len| sound().raw("k", kind::ARRAY, &array(element, len, &[0; 8]));
    for len in [1 << 20, 1 << 61, u64::MAX] {
        for element in [kind::U8, kind::U64, kind::STRING] {
            invalid(&huge(element, len), &format!("length of \"k\" is {len}"));
        }
    }
    invalid(&huge(13, 1), "element type of \"k\" is 13");
    let nested = array(kind::ARRAY, 1, &array(kind::U32, 1, &[0; 4]));
    invalid(
        &sound().raw("k", kind::ARRAY, &nested),
        "\"k\" is an array of arrays",
    );
    let deep = array(kind::ARRAY, 1, &[]).repeat(10_000);
    invalid(
        &sound().raw("k", kind::ARRAY, &deep),
        "\"k\" is an array of arrays",
    );
    let bools = array(kind::BOOL, 2, &[1, 2]);
    invalid(
        &sound().raw("k", kind::ARRAY, &bools),
        "\"k\" holds 2 as a bool",
    );
    let texts = array(kind::STRING, 2, &[string(b"a"), string(&[0xc0])].concat());
    invalid(&sound().raw("k", kind::ARRAY, &texts), "\"k\" is not UTF-8");
    let past = array(kind::STRING, 1, &u64::MAX.to_le_bytes());
    invalid(&sound().raw("k", kind::ARRAY, &past), "\"k\" takes");
}

#[test]
fn alignment() {
    for n in [0, 1, 3, 24, 48, 1 << 31, u32::MAX] {
        invalid(
            &sound().u32("general.alignment", n),
            &format!("general.alignment is the integer {n}, expected a power of two"),
        );
    }
    for gguf in [
        sound().str("general.alignment", "32"),
        sound().f32("general.alignment", 32.0),
        sound().raw("general.alignment", kind::I32, &(-32i32).to_le_bytes()),
        sound().raw("general.alignment", kind::U64, &(1u64 << 32).to_le_bytes()),
    ] {
        invalid(&gguf, "expected an unsigned 32-bit integer");
    }
}

#[test]
fn tensor_names() {
    let named = |name: &[u8]| sound().with(|t| t.name = name.to_vec());
    invalid(&named(b""), "a tensor name has 0 bytes");
    invalid(
        &named(&[b'n'; 64]),
        "a tensor name has 64 bytes, expected 1 to 63",
    );
    invalid(&named(&[b'n', 0xff]), "a tensor name is not UTF-8");
    invalid(
        &named(b"n\x1b[2J"),
        "tensor name \"n\\u{1b}[2J\" has control characters",
    );
    invalid(
        &named(b"n\0"),
        "tensor name \"n\\0\" has control characters",
    );
    let twice = sound()
        .floats("u", &[1], &[0.0])
        .floats("t", &[2], &[0.0; 2]);
    invalid(&twice, "tensor \"t\" is a duplicate");
}

#[test]
fn tensor_shapes() {
    let shaped = |dims: &[u64]| sound().with(|t| t.dims = dims.to_vec());
    invalid(&shaped(&[]), "tensor \"t\" has 0 dimensions");
    invalid(
        &shaped(&[1; 5]),
        "tensor \"t\" has 5 dimensions, expected 1 to 4",
    );
    invalid(&shaped(&[0]), "a dimension of tensor \"t\" is 0");
    invalid(&shaped(&[2, 0]), "a dimension of tensor \"t\" is 0");
    invalid(&shaped(&[u64::MAX]), "a dimension of tensor \"t\" is -1");
    invalid(
        &shaped(&[1 << 63, 1]),
        "a dimension of tensor \"t\" is -9223372036854775808",
    );
    invalid(
        &shaped(&[1 << 32, 1 << 32]),
        "dimensions of tensor \"t\" overflow",
    );
    invalid(
        &shaped(&[1, 1 << 62, 1, 4]),
        "dimensions of tensor \"t\" overflow",
    );
}

/// A rank beyond the format's is refused before as many dimensions are read.
#[test]
fn huge_rank() {
    let mut bytes = sound().bytes();
    let rank_at = 24 + 8 + 1;
    bytes[rank_at..rank_at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    let message = refuse(&bytes).to_string();
    assert!(message.contains("has 4294967295 dimensions"), "{message}");
}

#[test]
fn tensor_types() {
    let typed = |id| sound().with(|t| t.type_id = id);
    invalid(
        &typed(4),
        "tensor \"t\" has type 4, which ggml does not define",
    );
    invalid(&typed(1000), "tensor \"t\" has type 1000");
    invalid(&typed(u32::MAX), "tensor \"t\" has type 4294967295");
    unsupported(
        &typed(23),
        "tensor \"t\" has type IQ4_XS; supported types are F32, F16",
    );
    unsupported(&typed(10), "tensor \"t\" has type Q2_K");
}

#[test]
fn tensor_data() {
    invalid(
        &sound().tensor("q", &[33], 3, &[0; 40]),
        "tensor q: rows of 33 elements are not whole Q4_1 blocks of 32",
    );
    invalid(
        &sound().tensor("q", &[128, 2], 12, &[0; 144]),
        "tensor q: rows of 128 elements are not whole Q4_K blocks of 256",
    );
    invalid(
        &sound().floats("big", &[1 << 40], &[0.0]),
        "tensor big: 1 rows of 4398046511104 bytes at offset",
    );
    invalid(&sound().floats("big", &[1 << 62], &[0.0]), "tensor big");
    invalid(
        &sound().floats("short", &[2, 2], &[0.0; 3]),
        "pass the end of the file",
    );
}

#[test]
fn tensor_offsets() {
    let second = |offset| {
        sound()
            .floats("u", &[2], &[3.0, 4.0])
            .with(|t| t.offset = Some(offset))
    };
    for offset in [0, 4, 8, 33, 64, 1 << 40, 1 << 63, u64::MAX, u64::MAX - 31] {
        invalid(
            &second(offset),
            &format!("tensor \"u\" has offset {offset}, expected 32"),
        );
    }
    let first = sound().with(|t| t.offset = Some(32));
    invalid(&first, "tensor \"t\" has offset 32, expected 0");
}

/// A file with every kind of field.
fn varied() -> Vec<u8> {
    let floats = array(kind::F32, 2, &[0; 8]);
    Gguf::new()
        .str("general.architecture", "llama")
        .u32("general.alignment", 32)
        .bool("flag", true)
        .strings("tokens", &["a", "bc", ""])
        .raw("scores", kind::ARRAY, &floats)
        .floats("vector", &[3], &[1.0, 2.0, 3.0])
        .tensor("matrix", &[32, 2], 3, &[7; 40])
        .bytes()
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = varied();
    let (_dir, path) = write(&bytes);
    GgufFile::open(&path).unwrap();
    for len in 0..bytes.len() {
        refuse(&bytes[..len]);
    }
}

/// Changed bytes may give another sound file, but never a panic, there or when
/// everything in the file is read.
#[test]
fn no_changed_byte_causes_a_panic() {
    let sound = varied();
    let (_dir, path) = write(&sound);
    for at in 0..sound.len() {
        for value in [0x00, 0x01, 0x80, 0xff] {
            let mut bytes = sound.clone();
            bytes[at] = value;
            std::fs::write(&path, &bytes).unwrap();
            let Ok(file) = GgufFile::open(&path) else {
                continue;
            };
            for key in file.keys() {
                file.value(key).unwrap();
                let _ = file.get::<Vec<&str>>(key);
            }
            for name in file.tensor_names() {
                file.tensor(name)
                    .unwrap()
                    .unwrap()
                    .bytes()
                    .iter()
                    .for_each(|b| {
                        std::hint::black_box(b);
                    });
            }
        }
    }
}
