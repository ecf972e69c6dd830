//! Checkpoints: what a language model is, read from the files that hold it.
//!
//! [`Checkpoint::open`] takes a Hugging Face directory or one GGUF file and
//! returns configuration, mapped weights, tokenizer and chat template. Nothing
//! here computes; nothing here prints, exits or panics on bad input.
//!
//! Weights are mapped, unless one asks for a copy ([`Reading`]): a checkpoint's
//! files must then not be truncated or rewritten in place while it is open.
//! Replacing them by new files is fine.

pub mod arch;
pub mod chat;
pub mod config;
pub mod gguf;
pub mod quant;
pub mod tokenizer;
pub mod weights;

mod checkpoint;
mod dtype;
mod error;
mod generation;
mod hf;
mod map;
mod safetensors;
mod tensor;

pub use checkpoint::{Checkpoint, Format};
pub use dtype::DType;
pub use error::{Error, Result};
pub use generation::GenerationConfig;
pub use map::Reading;
pub use tensor::Tensor;
