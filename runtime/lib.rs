//! kcache: inference of language models with keys in device memory and values
//! fetched from the host by need.
//!
//! [`Model::load`] opens a checkpoint on a [`backend::Backend`]; a [`Context`]
//! computes with it; a [`Sequence`] holds the tokens, K and V of one text; a
//! [`Generation`] turns a prompt into text. What leaves V out of a decode step
//! is a [`cache::KvPolicy`].

pub mod backend;
pub mod cache;
pub mod driver;
pub mod engine;

mod error;

pub use engine::{Context, Generation, Model, Sequence};
pub use error::{Error, Result};
pub use kcache_models as models;
