//! Architectures: what each model's configuration means and which tensors it has.
//!
//! One file per architecture, mirroring its reference implementation in the
//! `transformers` library; GGUF keys and names are llama.cpp's.

mod source;

pub use source::{Naming, TensorSource};

/// A supported kind of model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Llama 1 to 3.x and models of their shape.
    Llama,
    /// Qwen2 and Qwen2.5: Llama with biases on Q, K and V.
    Qwen2,
}

impl Architecture {
    /// Every architecture.
    pub const ALL: [Self; 2] = [Self::Llama, Self::Qwen2];

    /// The name in `config.json` (`model_type`) and GGUF (`general.architecture`).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
        }
    }
}

impl std::fmt::Display for Architecture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
