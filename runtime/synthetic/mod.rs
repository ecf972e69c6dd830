//! Models of well-known shapes with random weights: they compute at the speed of
//! the real ones, and nonsense.

mod geometry;
mod pool;

use kcache_models::config::ModelConfig;
use kcache_models::tokenizer::Tokenizer;
use kcache_models::weights::{LayerWeights, Linear, ModelWeights};
use kcache_models::{Checkpoint, Format, GenerationConfig, Tensor};

use crate::driver::HostLimits;
use crate::{Error, Result};

pub use geometry::Geometry;
pub use pool::{Pool, matrix};

/// Weights as models are initialised with: a standard deviation of 0.02.
const BOUND: f32 = 0.035;

/// Elements from one matrix's start in the pool to the next one's.
const STRIDE: usize = 999_424;

/// A checkpoint of `config` with random bf16 weights in memory of their own, and
/// single bytes for tokens.
///
/// # Errors
/// [`Error::OutOfMemory`] if the host has too little memory left;
/// [`Error::Model`] for a vocabulary below 256.
pub fn checkpoint(config: ModelConfig, seed: u64) -> Result<Checkpoint> {
    let limits = HostLimits::read();
    let bytes = weight_bytes(&config);
    if bytes > limits.spare() {
        return Err(Error::OutOfMemory {
            what: "synthetic weights in bf16".into(),
            bytes,
            available: Some(limits.spare()),
        });
    }
    let pool = Pool::new(seed, BOUND)?;
    let mut maker = Maker { pool, made: 0 };
    Ok(Checkpoint {
        weights: maker.weights(&config)?,
        tokenizer: Tokenizer::of_bytes(config.vocab_size)?,
        chat_template: None,
        generation: GenerationConfig::default(),
        format: Format::HuggingFace,
        reading: limits.copies(),
        config,
    })
}

/// Shapes `[out, in]` of a layer's matrices: Q, K, V, output, gate, up, down.
pub fn layer_shapes(config: &ModelConfig) -> [[usize; 2]; 7] {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let (q, kv) = (config.q_dim(), config.kv_dim());
    [
        [q, hidden],
        [kv, hidden],
        [kv, hidden],
        [hidden, q],
        [inner, hidden],
        [inner, hidden],
        [hidden, inner],
    ]
}

/// Bytes of all matrices and norms in bf16.
fn weight_bytes(config: &ModelConfig) -> u64 {
    let size = |[rows, cols]: [usize; 2]| rows as u64 * cols as u64;
    let hidden = config.hidden_size as u64;
    let layer: u64 = layer_shapes(config).into_iter().map(size).sum::<u64>() + 2 * hidden;
    let tables = if config.tie_word_embeddings { 1 } else { 2 };
    let table = size([config.vocab_size, config.hidden_size]);
    2 * (config.n_layers as u64 * layer + tables * table + hidden)
}

/// Cuts one matrix after the other from the pool.
struct Maker {
    pool: Pool,
    made: usize,
}

impl Maker {
    fn weights(&mut self, config: &ModelConfig) -> Result<ModelWeights> {
        let table = [config.vocab_size, config.hidden_size];
        let layers = (0..config.n_layers).map(|_| self.layer(config));
        Ok(ModelWeights {
            layers: layers.collect::<Result<_>>()?,
            embedding: self.matrix(table)?,
            final_norm: ones(config)?,
            lm_head: match config.tie_word_embeddings {
                true => None,
                false => Some(self.matrix(table)?),
            },
        })
    }

    fn layer(&mut self, config: &ModelConfig) -> Result<LayerWeights> {
        let [q, k, v, o, gate, up, down] = layer_shapes(config);
        Ok(LayerWeights {
            attn_norm: ones(config)?,
            q: self.linear(q)?,
            k: self.linear(k)?,
            v: self.linear(v)?,
            o: self.linear(o)?,
            mlp_norm: ones(config)?,
            gate: self.linear(gate)?,
            up: self.linear(up)?,
            down: self.linear(down)?,
        })
    }

    fn linear(&mut self, shape: [usize; 2]) -> Result<Linear> {
        let weight = self.matrix(shape)?;
        Ok(Linear { weight, bias: None })
    }

    fn matrix(&mut self, shape: [usize; 2]) -> Result<Tensor> {
        self.made += 1;
        self.pool.copied(self.made * STRIDE, shape)
    }
}

/// A norm's weight.
fn ones(config: &ModelConfig) -> Result<Tensor> {
    matrix([1, config.hidden_size], |_| 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weights_are_as_many_as_the_shape_says() {
        let config = Geometry::SmolLm2.config(Some(2), 64);
        let bytes = weight_bytes(&config);
        let made = checkpoint(config, 1).unwrap();
        assert_eq!(made.weights.sizes().bytes, bytes);
        assert!(made.weight_sizes().copied);
        let whole = weight_bytes(&Geometry::SmolLm2.config(None, 64));
        assert_eq!(whole / 2, 134_515_008, "parameters of SmolLM2-135M");
    }

    #[test]
    fn what_no_machine_holds_is_refused() {
        let config = Geometry::Llama3.config(Some(1 << 30), 64);
        let error = checkpoint(config, 1).unwrap_err();
        assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
    }
}
