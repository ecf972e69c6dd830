//! The C API, `include/kcache.h`: a thin layer over the Rust one.
//!
//! Every function is a safe body inside [`boundary`], which turns errors and
//! panics into a status and keeps the text with the handle. What a pointer must
//! be is said once, in the header's opening words (`cbindgen.toml`): NULL is
//! always answered by a status, a dangling pointer cannot be.
//!
//! Types bear the names that they have in C.
#![allow(non_camel_case_types)]
// Said once for all functions, in the header.
#![allow(clippy::missing_safety_doc)]

// In the order of the header.
pub mod version;

pub mod status;

pub mod model;

pub mod model_info;

pub mod tokens;

pub mod chat;

pub mod context_params;

pub mod memory_plan;

pub mod context;

pub mod sequence;

pub mod generate;

pub mod statistics;

pub mod sampler;

pub mod token_stream;

mod boundary;
mod buffer;
mod engine;
mod failure;
mod handle;
mod input;
mod message;
mod model_state;
mod versioned;
