//! Finds every tensor of a decoder and checks it against the configuration.

use super::checks::{Dim, check_shape, read_vector, shape};
use super::names::{Global, Part};
use super::source::TensorSource;
use crate::config::ModelConfig;
use crate::weights::{LayerWeights, Linear, ModelWeights};
use crate::{Error, Result, Tensor};

/// The weights of the model that `config` describes.
///
/// Matrices may have any [`crate::DType`]; norms and biases must be floats,
/// finite, and norms not all zero. Numbers in matrices are not looked at.
///
/// # Errors
/// [`Error::Invalid`] naming file and tensor, and what was found and expected.
pub fn bind(config: &ModelConfig, source: &dyn TensorSource) -> Result<ModelWeights> {
    Binder { config, source }.model()
}

struct Binder<'a> {
    config: &'a ModelConfig,
    source: &'a dyn TensorSource,
}

impl Binder<'_> {
    fn model(&self) -> Result<ModelWeights> {
        let naming = self.source.naming();
        let table = [self.vocab(), self.hidden()];
        let embedding = self.tensor(Global::Embedding.weight(naming), &table)?;
        let layers: Result<_> = (0..self.config.n_layers).map(|l| self.layer(l)).collect();
        Ok(ModelWeights {
            embedding,
            layers: layers?,
            final_norm: self.norm(Global::FinalNorm.weight(naming))?,
            lm_head: match self.config.tie_word_embeddings {
                true => None,
                false => Some(self.tensor(Global::LmHead.weight(naming), &table)?),
            },
        })
    }

    fn layer(&self, layer: usize) -> Result<LayerWeights> {
        let bias = self.config.bias;
        let (hidden, q, kv) = (self.hidden(), self.q_dim(), self.kv_dim());
        let mlp = Dim("intermediate_size", self.config.intermediate_size);
        let norm = |part: Part| self.norm(&format!("{}.weight", self.name(part, layer)));
        let linear = |part, out, input, bias| self.linear(part, layer, [out, input], bias);
        Ok(LayerWeights {
            attn_norm: norm(Part::AttnNorm)?,
            q: linear(Part::Q, q, hidden, bias.qkv)?,
            k: linear(Part::K, kv, hidden, bias.qkv)?,
            v: linear(Part::V, kv, hidden, bias.qkv)?,
            o: linear(Part::O, hidden, q, bias.attn_output)?,
            mlp_norm: norm(Part::MlpNorm)?,
            gate: linear(Part::Gate, mlp, hidden, bias.mlp)?,
            up: linear(Part::Up, mlp, hidden, bias.mlp)?,
            down: linear(Part::Down, hidden, mlp, bias.mlp)?,
        })
    }

    /// A matrix `[out, in]`, and a bias `[out]` exactly where there should be one.
    fn linear(&self, part: Part, layer: usize, dims: [Dim; 2], biased: bool) -> Result<Linear> {
        let name = self.name(part, layer);
        let weight = self.tensor(&format!("{name}.weight"), &dims)?;
        let bias_name = format!("{name}.bias");
        let bias = match biased {
            true => Some(self.vector(&bias_name, dims[0])?.0),
            false => self.absent(&bias_name)?,
        };
        Ok(Linear { weight, bias })
    }

    fn norm(&self, name: &str) -> Result<Tensor> {
        let (tensor, values) = self.vector(name, self.hidden())?;
        if values.iter().all(|x| *x == 0.0) {
            return Err(tensor.error("all elements are zero"));
        }
        Ok(tensor)
    }

    fn vector(&self, name: &str, len: Dim) -> Result<(Tensor, Vec<f32>)> {
        let tensor = self.tensor(name, &[len])?;
        let values = read_vector(&tensor)?;
        Ok((tensor, values))
    }

    fn tensor(&self, name: &str, dims: &[Dim]) -> Result<Tensor> {
        let Some(tensor) = self.source.tensor(name)? else {
            let message = format!("tensor {name} is missing, expected {}", shape(dims));
            return Err(Error::invalid(self.source.path_of(name), message));
        };
        check_shape(&tensor, dims)?;
        Ok(tensor)
    }

    /// A bias that the configuration rules out: to leave it out silently would
    /// compute another model than the one that was stored.
    fn absent(&self, name: &str) -> Result<Option<Tensor>> {
        match self.source.tensor(name)? {
            None => Ok(None),
            Some(tensor) => Err(tensor.error("is there, but the configuration has no such bias")),
        }
    }

    fn name(&self, part: Part, layer: usize) -> String {
        part.name(self.source.naming(), layer)
    }

    fn vocab(&self) -> Dim {
        Dim("vocab_size", self.config.vocab_size)
    }

    fn hidden(&self) -> Dim {
        Dim("hidden_size", self.config.hidden_size)
    }

    fn q_dim(&self) -> Dim {
        Dim("heads * head_dim", self.config.q_dim())
    }

    fn kv_dim(&self) -> Dim {
        Dim("kv_heads * head_dim", self.config.kv_dim())
    }
}
