//! Dequantisation against golden blocks of the reference implementation
//! (`tools/reference/quant_blocks.py`), to the bit.

#![cfg(test)]

use kcache_models::DType;
use kcache_models::quant::dequantize;

/// Blocks of one type and their elements.
fn golden(dtype: DType) -> (Vec<u8>, Vec<f32>) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/quant");
    let mut blocks = std::fs::read(format!("{folder}/{dtype}.bin")).unwrap();
    let block_and_values = dtype.block_bytes() + 4 * dtype.block_len();
    assert_eq!(blocks.len() % block_and_values, 0, "{dtype}");
    let count = blocks.len() / block_and_values;
    let values = blocks.split_off(count * dtype.block_bytes());
    let (values, _) = values.as_chunks();
    (
        blocks,
        values.iter().map(|v| f32::from_le_bytes(*v)).collect(),
    )
}

fn assert_same_bits(dtype: DType, got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len(), "{dtype}");
    for (i, (g, e)) in got.iter().zip(expected).enumerate() {
        assert_eq!(g.to_bits(), e.to_bits(), "{dtype} element {i}: {g} != {e}");
    }
}

#[test]
fn every_type_equals_the_reference_to_the_bit() {
    for dtype in DType::ALL {
        let (blocks, expected) = golden(dtype);
        let mut out = vec![f32::NAN; expected.len()];
        dequantize(dtype, &blocks, &mut out);
        assert_same_bits(dtype, &out, &expected);
    }
}

/// Long enough for every vector width, short by one block for its remainder.
#[test]
fn long_and_odd_runs_equal_single_blocks() {
    for dtype in DType::ALL {
        let (blocks, expected) = golden(dtype);
        let blocks = blocks.repeat(7);
        let expected = expected.repeat(7);
        let bytes = &blocks[..blocks.len() - dtype.block_bytes()];
        let values = &expected[..expected.len() - dtype.block_len()];
        let mut out = vec![f32::NAN; values.len()];
        dequantize(dtype, bytes, &mut out);
        assert_same_bits(dtype, &out, values);
    }
}

#[test]
fn blocks_need_no_alignment() {
    for dtype in DType::ALL {
        let (blocks, expected) = golden(dtype);
        for shift in 0..4 {
            let mut moved = vec![0xaa; shift];
            moved.extend_from_slice(&blocks);
            let mut out = vec![f32::NAN; expected.len()];
            dequantize(dtype, &moved[shift..], &mut out);
            assert_same_bits(dtype, &out, &expected);
        }
    }
}

#[test]
fn no_elements_from_no_bytes() {
    for dtype in DType::ALL {
        dequantize(dtype, &[], &mut []);
    }
}

/// Debug builds refuse wrong lengths; release builds touch whole blocks alone.
#[test]
#[cfg_attr(debug_assertions, should_panic(expected = "Q4_1"))]
fn wrong_lengths_are_no_undefined_behaviour() {
    let (blocks, expected) = golden(DType::Q4_1);
    let mut out = vec![f32::NAN; 64 + 5];
    dequantize(DType::Q4_1, &blocks[..41], &mut out);
    assert_same_bits(DType::Q4_1, &out[..64], &expected[..64]);
    assert!(out[64..].iter().all(|y| y.is_nan()));
}
