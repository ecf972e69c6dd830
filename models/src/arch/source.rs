//! Where weights come from.

use std::path::Path;

use crate::{Result, Tensor};

/// How a checkpoint names its tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// `model.layers.0.self_attn.q_proj.weight`, as Hugging Face writes.
    Hf,
    /// `blk.0.attn_q.weight`, as GGUF writes.
    Gguf,
}

/// The tensors of an open checkpoint.
pub trait TensorSource {
    /// The scheme of [`TensorSource::tensor`]'s names.
    fn naming(&self) -> Naming;

    /// The tensor called `name`, or `None` if there is none.
    ///
    /// # Errors
    /// If there is one, but of a type or rank that a [`Tensor`] cannot have.
    fn tensor(&self, name: &str) -> Result<Option<Tensor>>;

    /// The file that errors about tensor `name` blame: the one that holds it,
    /// or the one that should list it.
    fn path_of(&self, name: &str) -> &Path;
}
