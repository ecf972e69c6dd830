//! kcache: inference of language models with keys in device memory and values
//! fetched from the host by need.
//!
//! [`Model::load`] opens a checkpoint on a [`backend::Backend`]; a [`Context`]
//! computes with it; a [`Sequence`] holds the tokens, K and V of one text; a
//! [`Generation`] turns a prompt into text. What leaves V out of a decode step
//! is a [`cache::KvPolicy`].
//!
//! ```no_run
//! use std::{path::Path, sync::Arc};
//!
//! use kcache::backend::cpu::Cpu;
//! use kcache::engine::{CancelFlag, ContextOptions};
//! use kcache::{Context, Model};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let path = Path::new("model.gguf");
//! let model = Arc::new(Model::load(path, Cpu::new(None)?, &mut |_, _| Ok(()))?);
//! let mut context = Context::new(model.clone(), &ContextOptions::default())?;
//! let mut sequence = context.sequence()?;
//! let prompt = model.tokenizer().encode("The capital of France is", true)?;
//! let logits = context.prefill(&mut sequence, &prompt, &CancelFlag::default())?;
//! # let _ = logits;
//! # Ok(())
//! # }
//! ```

pub mod backend;
pub mod cache;
pub mod driver;
pub mod engine;
pub mod ffi;
pub mod synthetic;

mod error;

pub use engine::{Context, Generation, Model, Sequence};
pub use error::{Error, Result};
pub use kcache_models as models;
