//! Architectures: what each model's configuration means and which tensors it has.
//!
//! One file per architecture, mirroring its reference implementation in the
//! `transformers` library; GGUF keys and names are llama.cpp's.

mod bind;
mod checks;
mod dims;
mod fields;
mod gguf;
mod gguf_fields;
mod hf;
mod hf_fields;
mod llama;
mod names;
mod qwen2;
mod rope;
mod source;

pub use bind::bind;
pub use gguf::config_from_gguf;
pub use hf::config_from_hf;
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

    /// The class in `transformers` that computes logits.
    const fn hf_class(self) -> &'static str {
        match self {
            Self::Llama => "LlamaForCausalLM",
            Self::Qwen2 => "Qwen2ForCausalLM",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.name() == name)
    }

    /// All names, for messages.
    fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

impl std::fmt::Display for Architecture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
