//! Shapes of models that people run.

use std::str::FromStr;

use kcache_models::arch::Architecture;
use kcache_models::config::{BiasConfig, ModelConfig, RopeConfig, RopeScaling, RopeStyle};

use crate::{Error, Result};

/// The shape of a well-known model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Geometry {
    /// Llama 2 of 7 billion parameters: each query head has a KV head.
    Llama2,
    /// Llama 3 of 8 billion parameters: four query heads share a KV head.
    Llama3,
    /// SmolLM2 of 135 million parameters: three query heads share a KV head.
    SmolLm2,
}

impl Geometry {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Llama2, Self::Llama3, Self::SmolLm2];

    /// How a user names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama2 => "llama2-7b",
            Self::Llama3 => "llama3-8b",
            Self::SmolLm2 => "smollm2-135m",
        }
    }

    /// The geometry with so many layers, where its own number is not meant, and
    /// `positions` positions.
    pub fn config(self, layers: Option<usize>, positions: usize) -> ModelConfig {
        let small = self == Self::SmolLm2;
        let (intermediate_size, n_kv_heads, vocab_size, theta) = match self {
            Self::Llama2 => (11_008, 32, 32_000, 1e4),
            Self::Llama3 => (14_336, 8, 128_256, 5e5),
            Self::SmolLm2 => (1536, 3, 49_152, 1e5),
        };
        let (n_layers, n_heads, head_dim) = if small { (30, 9, 64) } else { (32, 32, 128) };
        ModelConfig {
            architecture: Architecture::Llama,
            n_layers: layers.unwrap_or(n_layers),
            hidden_size: n_heads * head_dim,
            intermediate_size,
            n_heads,
            n_kv_heads,
            head_dim,
            vocab_size,
            max_position: positions,
            rms_norm_eps: 1e-5,
            rope: RopeConfig {
                theta,
                style: RopeStyle::HalfSplit,
                scaling: RopeScaling::None,
            },
            tie_word_embeddings: small,
            bias: BiasConfig::default(),
        }
    }
}

impl FromStr for Geometry {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let named = Self::ALL.into_iter().find(|g| g.name() == text);
        named.ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            Error::InvalidArgument(format!("geometry {text} is none of {known}"))
        })
    }
}
