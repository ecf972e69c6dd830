//! The tensor element types that GGUF numbers.

use crate::DType;

/// What a type number of a tensor description stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TensorType {
    /// A type this crate reads.
    Supported(DType),
    /// A type of the format that this crate does not read.
    Unsupported(&'static str),
}

impl TensorType {
    /// `None` for numbers that ggml never gave out or has withdrawn.
    pub(super) fn from_id(id: u32) -> Option<Self> {
        Some(match id {
            0 => Self::Supported(DType::F32),
            1 => Self::Supported(DType::F16),
            2 => Self::Supported(DType::Q4_0),
            3 => Self::Supported(DType::Q4_1),
            6 => Self::Supported(DType::Q5_0),
            7 => Self::Supported(DType::Q5_1),
            8 => Self::Supported(DType::Q8_0),
            12 => Self::Supported(DType::Q4K),
            13 => Self::Supported(DType::Q5K),
            14 => Self::Supported(DType::Q6K),
            30 => Self::Supported(DType::BF16),
            _ => Self::Unsupported(unsupported_name(id)?),
        })
    }
}

fn unsupported_name(id: u32) -> Option<&'static str> {
    Some(match id {
        9 => "Q8_1",
        10 => "Q2_K",
        11 => "Q3_K",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        39 => "MXFP4",
        40 => "NVFP4",
        _ => return None,
    })
}
