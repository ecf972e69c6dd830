//! The weights of a decoder, by role.

use std::convert::Infallible;

use crate::Tensor;

/// `y = x Wᵀ + b`, with matrices of type `M` and vectors of type `V`.
#[derive(Clone, Debug)]
pub struct Linear<M = Tensor, V = Tensor> {
    /// `[out, in]`.
    pub weight: M,
    /// `[out]`, where the architecture has one.
    pub bias: Option<V>,
}

/// One pre-norm transformer block. Rows of `q` and `k` are in the order that
/// the model's [`crate::config::RopeStyle`] rotates.
#[derive(Clone, Debug)]
pub struct LayerWeights<M = Tensor, V = Tensor> {
    /// `[hidden]`, before attention.
    pub attn_norm: V,
    /// `[n_heads * head_dim, hidden]`.
    pub q: Linear<M, V>,
    /// `[n_kv_heads * head_dim, hidden]`.
    pub k: Linear<M, V>,
    /// `[n_kv_heads * head_dim, hidden]`.
    pub v: Linear<M, V>,
    /// `[hidden, n_heads * head_dim]`.
    pub o: Linear<M, V>,
    /// `[hidden]`, before the MLP.
    pub mlp_norm: V,
    /// `[intermediate, hidden]`.
    pub gate: Linear<M, V>,
    /// `[intermediate, hidden]`.
    pub up: Linear<M, V>,
    /// `[hidden, intermediate]`.
    pub down: Linear<M, V>,
}

/// All weights of a model.
#[derive(Clone, Debug)]
pub struct ModelWeights<M = Tensor, V = Tensor> {
    /// `[vocab, hidden]`.
    pub embedding: M,
    /// In order of execution.
    pub layers: Vec<LayerWeights<M, V>>,
    /// `[hidden]`, before the logits.
    pub final_norm: V,
    /// `[vocab, hidden]`; `None` where logits use the embedding.
    pub lm_head: Option<M>,
}

/// Moves tensors to where they are computed with.
pub trait Upload {
    /// A matrix there.
    type Matrix;
    /// A vector there.
    type Vector;
    /// Why it failed.
    type Error;

    /// Takes a matrix.
    fn matrix(&mut self, tensor: &Tensor) -> Result<Self::Matrix, Self::Error>;
    /// Takes a bias or norm.
    fn vector(&mut self, tensor: &Tensor) -> Result<Self::Vector, Self::Error>;
}

impl Linear {
    fn upload<U: Upload>(&self, to: &mut U) -> Result<Linear<U::Matrix, U::Vector>, U::Error> {
        Ok(Linear {
            weight: to.matrix(&self.weight)?,
            bias: self.bias.as_ref().map(|b| to.vector(b)).transpose()?,
        })
    }
}

impl LayerWeights {
    fn upload<U: Upload>(
        &self,
        to: &mut U,
    ) -> Result<LayerWeights<U::Matrix, U::Vector>, U::Error> {
        Ok(LayerWeights {
            attn_norm: to.vector(&self.attn_norm)?,
            q: self.q.upload(to)?,
            k: self.k.upload(to)?,
            v: self.v.upload(to)?,
            o: self.o.upload(to)?,
            mlp_norm: to.vector(&self.mlp_norm)?,
            gate: self.gate.upload(to)?,
            up: self.up.upload(to)?,
            down: self.down.upload(to)?,
        })
    }
}

/// What all tensors of a model add up to. A tied output head counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WeightSizes {
    /// Bytes as stored.
    pub bytes: u64,
    /// Elements of matrices.
    pub matrix_elements: u64,
    /// Elements of norms and biases.
    pub vector_elements: u64,
    /// Whether they are copies in memory rather than mapped files.
    pub copied: bool,
}

impl Upload for WeightSizes {
    type Matrix = ();
    type Vector = ();
    type Error = Infallible;

    fn matrix(&mut self, tensor: &Tensor) -> Result<(), Infallible> {
        self.bytes += tensor.bytes().len() as u64;
        self.matrix_elements += (tensor.rows() * tensor.cols()) as u64;
        Ok(())
    }

    fn vector(&mut self, tensor: &Tensor) -> Result<(), Infallible> {
        self.bytes += tensor.bytes().len() as u64;
        self.vector_elements += (tensor.rows() * tensor.cols()) as u64;
        Ok(())
    }
}

impl ModelWeights {
    /// How much there is of them.
    pub fn sizes(&self) -> WeightSizes {
        let mut sizes = WeightSizes::default();
        // Counting cannot fail.
        let _: Result<_, Infallible> = self.upload(&mut sizes);
        sizes
    }

    /// The same weights where `to` puts them, in order of execution.
    ///
    /// # Errors
    /// The first error of `to`.
    pub fn upload<U: Upload>(
        &self,
        to: &mut U,
    ) -> Result<ModelWeights<U::Matrix, U::Vector>, U::Error> {
        Ok(ModelWeights {
            embedding: to.matrix(&self.embedding)?,
            layers: self
                .layers
                .iter()
                .map(|layer| layer.upload(to))
                .collect::<Result<_, _>>()?,
            final_norm: to.vector(&self.final_norm)?,
            lm_head: self.lm_head.as_ref().map(|w| to.matrix(w)).transpose()?,
        })
    }
}
