//! A model's configuration under the names that Hugging Face gives it.

use kcache::models::config::{ModelConfig, RopeScaling, RopeStyle};
use serde::Serialize;

/// Shape and constants.
#[derive(Serialize)]
pub struct ConfigReport {
    pub num_hidden_layers: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    pub head_dim: usize,
    pub vocab_size: usize,
    pub max_position_embeddings: usize,
    pub rms_norm_eps: f32,
    pub rope_theta: f32,
    pub rope_style: &'static str,
    pub rope_scaling: ScalingReport,
    pub tie_word_embeddings: bool,
    pub qkv_bias: bool,
    pub attention_output_bias: bool,
    pub mlp_bias: bool,
}

/// How rotary frequencies are stretched for longer contexts.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ScalingReport {
    None,
    Linear {
        factor: f32,
    },
    Llama3 {
        factor: f32,
        low_freq_factor: f32,
        high_freq_factor: f32,
        original_max_position_embeddings: usize,
    },
    Divisors {
        divisors: Vec<f32>,
    },
}

impl ConfigReport {
    /// Of `config`.
    pub fn new(config: &ModelConfig) -> Self {
        Self {
            num_hidden_layers: config.n_layers,
            hidden_size: config.hidden_size,
            intermediate_size: config.intermediate_size,
            num_attention_heads: config.n_heads,
            num_key_value_heads: config.n_kv_heads,
            head_dim: config.head_dim,
            vocab_size: config.vocab_size,
            max_position_embeddings: config.max_position,
            rms_norm_eps: config.rms_norm_eps,
            rope_theta: config.rope.theta,
            rope_style: match config.rope.style {
                RopeStyle::HalfSplit => "half_split",
                RopeStyle::Interleaved => "interleaved",
            },
            rope_scaling: ScalingReport::new(&config.rope.scaling),
            tie_word_embeddings: config.tie_word_embeddings,
            qkv_bias: config.bias.qkv,
            attention_output_bias: config.bias.attn_output,
            mlp_bias: config.bias.mlp,
        }
    }

    /// Elements of K and V together that a token takes in all layers.
    pub fn kv_elements_per_token(&self) -> usize {
        2 * self.num_hidden_layers * self.num_key_value_heads * self.head_dim
    }
}

impl ScalingReport {
    fn new(scaling: &RopeScaling) -> Self {
        match *scaling {
            RopeScaling::None => Self::None,
            RopeScaling::Linear { factor } => Self::Linear { factor },
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position,
            } => Self::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings: original_max_position,
            },
            RopeScaling::Divisors(ref divisors) => Self::Divisors {
                divisors: divisors.clone(),
            },
        }
    }
}
