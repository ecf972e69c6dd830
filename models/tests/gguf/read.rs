//! Reading sound GGUF files.

use crate::builder::{Gguf, array, kind, string};
use kcache_models::DType;
use kcache_models::arch::TensorSource;
use kcache_models::gguf::{GgufFile, Value};

fn open(gguf: &Gguf) -> GgufFile {
    let (_dir, path) = gguf.write();
    // The map outlives the file's name.
    GgufFile::open(&path).unwrap()
}

#[test]
fn every_scalar_type_reads_back() {
    let file = open(
        &Gguf::new()
            .raw("u8", 0, &[200])
            .raw("i8", 1, &[0xff])
            .raw("u16", 2, &40_000u16.to_le_bytes())
            .raw("i16", 3, &(-2i16).to_le_bytes())
            .u32("u32", 4_000_000_000)
            .raw("i32", 5, &(-3i32).to_le_bytes())
            .f32("f32", 0.1)
            .bool("yes", true)
            .bool("no", false)
            .str("text", "héllo")
            .raw("u64", 10, &u64::MAX.to_le_bytes())
            .raw("i64", 11, &i64::MIN.to_le_bytes())
            .raw("f64", 12, &2.5f64.to_le_bytes()),
    );
    assert_eq!(file.require::<u32>("u8").unwrap(), 200);
    assert_eq!(file.require::<i32>("i8").unwrap(), -1);
    assert_eq!(file.require::<u32>("u16").unwrap(), 40_000);
    assert_eq!(file.require::<i32>("i16").unwrap(), -2);
    assert_eq!(file.require::<u32>("u32").unwrap(), 4_000_000_000);
    assert_eq!(file.require::<i32>("i32").unwrap(), -3);
    assert_eq!(file.require::<f32>("f32").unwrap(), 0.1);
    assert!(file.require::<bool>("yes").unwrap());
    assert!(!file.require::<bool>("no").unwrap());
    assert_eq!(file.require::<&str>("text").unwrap(), "héllo");
    assert_eq!(file.require::<u64>("u64").unwrap(), u64::MAX);
    assert!(matches!(
        file.value("i64").unwrap(),
        Some(Value::Integer(n)) if n == i128::from(i64::MIN)
    ));
    assert_eq!(file.require::<f32>("f64").unwrap(), 2.5);
    assert_eq!(file.keys().count(), 13);
}

#[test]
fn arrays_read_back() {
    let floats: Vec<u8> = [0.5f32, -1.0]
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect();
    let ints: Vec<u8> = [1i32, -6].iter().flat_map(|n| n.to_le_bytes()).collect();
    let file = open(
        &Gguf::new()
            .strings("tokens", &["a", "", "ü b"])
            .raw("scores", kind::ARRAY, &array(kind::F32, 2, &floats))
            .raw("types", kind::ARRAY, &array(kind::I32, 2, &ints))
            .raw("flags", kind::ARRAY, &array(kind::BOOL, 2, &[0, 1]))
            .raw("none", kind::ARRAY, &array(kind::STRING, 0, &[])),
    );
    let tokens: Vec<&str> = file.require("tokens").unwrap();
    assert_eq!(tokens, ["a", "", "ü b"]);
    assert_eq!(file.require::<Vec<f32>>("scores").unwrap(), [0.5, -1.0]);
    assert_eq!(file.require::<Vec<i32>>("types").unwrap(), [1, -6]);
    assert_eq!(file.require::<Vec<bool>>("flags").unwrap(), [false, true]);
    assert!(file.require::<Vec<&str>>("none").unwrap().is_empty());
}

#[test]
fn lookups_say_what_they_found_and_expected() {
    let file = open(
        &Gguf::new()
            .str("name", "tiny")
            .raw("big", kind::U64, &(1u64 << 32).to_le_bytes())
            .strings("tokens", &["a"]),
    );
    let absent: Option<u32> = file.get("absent").unwrap();
    assert_eq!(absent, None);
    for (message, parts) in [
        (
            file.require::<u32>("absent").unwrap_err(),
            ["absent", "is missing, expected an unsigned 32-bit integer"],
        ),
        (
            file.get::<u32>("name").unwrap_err(),
            ["name", "\"tiny\", expected an unsigned 32-bit integer"],
        ),
        (
            file.get::<u32>("big").unwrap_err(),
            ["big", "4294967296, expected an unsigned 32-bit integer"],
        ),
        (
            file.get::<Vec<f32>>("tokens").unwrap_err(),
            ["tokens", "an array of 1 string elements, expected an array"],
        ),
        (
            file.get::<&str>("tokens").unwrap_err(),
            ["tokens", "expected a string"],
        ),
    ] {
        let message = message.to_string();
        assert!(message.contains("model.gguf"), "{message}");
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
}

#[test]
fn tensors_come_with_reversed_dimensions_and_their_own_bytes() {
    let vector = [1.0f32, 2.0, 3.0];
    let matrix: Vec<f32> = (0..6).map(|i| i as f32).collect();
    let blocks: Vec<u8> = (0..60).collect();
    let file = open(
        &Gguf::new()
            .floats("vector", &[3], &vector)
            .floats("matrix", &[2, 3], &matrix)
            .tensor("blocks", &[32, 1, 3], 3, &blocks),
    );
    let t = file.tensor("matrix").unwrap().unwrap();
    assert_eq!((t.rows(), t.cols(), t.dtype()), (3, 2, DType::F32));
    let t = file.tensor("vector").unwrap().unwrap();
    assert_eq!((t.rows(), t.cols()), (1, 3));
    assert_eq!(t.bytes(), vector.map(f32::to_le_bytes).concat());
    let t = file.tensor("blocks").unwrap().unwrap();
    assert_eq!((t.rows(), t.cols(), t.dtype()), (3, 32, DType::Q4_1));
    assert_eq!(t.bytes(), blocks);
    assert!(file.tensor("other").unwrap().is_none());
    let names: Vec<&str> = file.tensor_names().collect();
    assert_eq!(names, ["blocks", "matrix", "vector"]);
    assert!(file.path_of("matrix").ends_with("model.gguf"));
}

#[test]
fn version_2_and_other_alignments_are_read() {
    let mut gguf = Gguf::new()
        .u32("general.alignment", 8)
        .floats("a", &[1], &[1.0])
        .floats("b", &[1], &[2.0]);
    gguf.version = 2;
    gguf.alignment = 8;
    let file = open(&gguf);
    assert_eq!(
        file.tensor("b").unwrap().unwrap().bytes(),
        2f32.to_le_bytes()
    );
}

#[test]
fn every_supported_tensor_type_is_known_by_its_number() {
    let numbers = [0, 1, 30, 8, 2, 3, 6, 7, 12, 13, 14];
    for (dtype, number) in DType::ALL.into_iter().zip(numbers) {
        let data = vec![0; dtype.block_bytes()];
        let file = open(&Gguf::new().tensor("t", &[dtype.block_len() as u64], number, &data));
        let t = file.tensor("t").unwrap().unwrap();
        assert_eq!(t.dtype(), dtype);
        assert_eq!(t.bytes().len(), data.len());
    }
}

#[test]
fn long_keys_and_text_are_shortened_in_messages() {
    let long = "x".repeat(10_000);
    let file = open(&Gguf::new().raw("text", kind::STRING, &string(long.as_bytes())));
    let message = file.get::<bool>("text").unwrap_err().to_string();
    assert!(message.len() < 300, "{message}");
}
