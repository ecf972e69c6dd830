//! What the engine needs to know of a model, whatever file it came from.

use crate::arch::Architecture;

/// Shape and constants of a decoder-only transformer.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// Which file of [`crate::arch`] describes the model.
    pub architecture: Architecture,
    /// Transformer blocks.
    pub n_layers: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; divides `n_heads`.
    pub n_kv_heads: usize,
    /// Elements of one head; even.
    pub head_dim: usize,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Positions the model was made for.
    pub max_position: usize,
    /// Epsilon inside RMSNorm's root.
    pub rms_norm_eps: f32,
    /// Rotary embedding.
    pub rope: RopeConfig,
    /// Whether logits use the embedding's rows.
    pub tie_word_embeddings: bool,
    /// Which linear layers add a bias.
    pub bias: BiasConfig,
}

/// Which linear layers add a bias. The default is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BiasConfig {
    /// The projections of Q, K and V.
    pub qkv: bool,
    /// The projection of attention's output.
    pub attn_output: bool,
    /// Gate, up and down.
    pub mlp: bool,
}

impl ModelConfig {
    /// Query heads that share one KV head.
    pub fn group_size(&self) -> usize {
        self.n_heads / self.n_kv_heads
    }

    /// Width of all query heads together.
    pub fn q_dim(&self) -> usize {
        self.n_heads * self.head_dim
    }

    /// Width of all KV heads together.
    pub fn kv_dim(&self) -> usize {
        self.n_kv_heads * self.head_dim
    }
}

/// Which two elements of a head a rotation mixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeStyle {
    /// `(x[i], x[i + head_dim / 2])`: Hugging Face checkpoints and GGUF Qwen2.
    HalfSplit,
    /// `(x[2i], x[2i + 1])`: GGUF Llama, whose Q and K rows llama.cpp permutes.
    Interleaved,
}

/// Rotary position embedding (RoFormer, arXiv 2104.09864).
#[derive(Clone, Debug, PartialEq)]
pub struct RopeConfig {
    /// Base of the geometric series of wavelengths.
    pub theta: f32,
    /// Pairing of elements.
    pub style: RopeStyle,
    /// How the base frequencies are stretched for longer contexts.
    pub scaling: RopeScaling,
}

/// Changes to the rotary frequencies.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// Frequencies as they are.
    None,
    /// All frequencies divided by the factor (position interpolation).
    Linear {
        /// The stretch.
        factor: f32,
    },
    /// Llama 3.1's smooth blend between unscaled high and divided low frequencies.
    Llama3 {
        /// The stretch of the lowest frequencies.
        factor: f32,
        /// Wavelengths above `original_max_position / low_freq_factor` are divided by `factor`.
        low_freq_factor: f32,
        /// Wavelengths below `original_max_position / high_freq_factor` stay.
        high_freq_factor: f32,
        /// Context of the unscaled model.
        original_max_position: usize,
    },
    /// One divisor for each of the `head_dim / 2` frequencies, as GGUF files of
    /// Llama 3.1 store them (`rope_freqs.weight`).
    Divisors(Vec<f32>),
}

impl RopeConfig {
    /// The `head_dim / 2` angular frequencies in radians per position.
    pub fn frequencies(&self, head_dim: usize) -> Vec<f32> {
        (0..head_dim / 2)
            .map(|i| {
                let base = f64::from(self.theta).powf(-2.0 * i as f64 / head_dim as f64);
                self.scale(i, base) as f32
            })
            .collect()
    }

    fn scale(&self, i: usize, freq: f64) -> f64 {
        match &self.scaling {
            RopeScaling::None => freq,
            RopeScaling::Linear { factor } => freq / f64::from(*factor),
            RopeScaling::Divisors(d) => freq / f64::from(d.get(i).copied().unwrap_or(1.0)),
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position,
            } => {
                let turns = *original_max_position as f64 * freq / std::f64::consts::TAU;
                let (low, high) = (f64::from(*low_freq_factor), f64::from(*high_freq_factor));
                // 0 where the frequency is divided in full, 1 where it stays.
                let keep = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                freq * (keep + (1.0 - keep) / f64::from(*factor))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rope(scaling: RopeScaling) -> RopeConfig {
        RopeConfig {
            theta: 500_000.0,
            style: RopeStyle::HalfSplit,
            scaling,
        }
    }

    #[test]
    fn plain_frequencies_are_a_geometric_series() {
        let f = rope(RopeScaling::None).frequencies(128);
        assert_eq!(f.len(), 64);
        assert_eq!(f[0], 1.0);
        assert!((f[32] - 500_000f32.powf(-0.5)).abs() < 1e-9);
    }

    #[test]
    fn linear_scaling_divides_every_frequency() {
        let plain = rope(RopeScaling::None).frequencies(64);
        let linear = rope(RopeScaling::Linear { factor: 4.0 }).frequencies(64);
        for (p, l) in plain.iter().zip(&linear) {
            assert!((p / 4.0 - l).abs() <= f32::EPSILON * p);
        }
    }

    /// Llama 3.1's constants: the fastest stay, the slowest are divided by 8.
    #[test]
    fn llama3_scaling_blends_between_its_two_bounds() {
        let plain = rope(RopeScaling::None).frequencies(128);
        let scaled = rope(RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position: 8192,
        })
        .frequencies(128);
        assert_eq!(plain[0], scaled[0]);
        assert!((plain[63] / 8.0 - scaled[63]).abs() < 1e-9 * plain[63]);
        let ratios: Vec<f32> = plain.iter().zip(&scaled).map(|(p, s)| p / s).collect();
        assert!(ratios.windows(2).all(|w| w[0] <= w[1] + 1e-5));
        assert!(ratios.iter().any(|r| *r > 1.5 && *r < 7.5));
    }
}
