//! Shapes of models that people run.

use clap::ValueEnum;
use kcache::models::arch::Architecture;
use kcache::models::config::{BiasConfig, ModelConfig, RopeConfig, RopeScaling, RopeStyle};

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Geometry {
    #[value(name = "llama2-7b")]
    Llama2,
    #[value(name = "llama3-8b")]
    Llama3,
}

impl Geometry {
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama2 => "llama2-7b",
            Self::Llama3 => "llama3-8b",
        }
    }

    /// The geometry with so many layers and positions.
    pub fn config(self, layers: Option<usize>, positions: usize) -> ModelConfig {
        let (intermediate_size, n_kv_heads, vocab_size) = match self {
            Self::Llama2 => (11_008, 32, 32_000),
            Self::Llama3 => (14_336, 8, 128_256),
        };
        ModelConfig {
            architecture: Architecture::Llama,
            n_layers: layers.unwrap_or(32),
            hidden_size: 4096,
            intermediate_size,
            n_heads: 32,
            n_kv_heads,
            head_dim: 128,
            vocab_size,
            max_position: positions,
            rms_norm_eps: 1e-5,
            rope: RopeConfig {
                theta: 1e4,
                style: RopeStyle::HalfSplit,
                scaling: RopeScaling::None,
            },
            tie_word_embeddings: false,
            bias: BiasConfig::default(),
        }
    }
}
