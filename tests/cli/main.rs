//! The binary as a user meets it: flags in, text, figures and exit codes out.

#[path = "../common/mod.rs"]
mod common;

mod chat;
mod errors;
mod eval;
mod generate;
mod help;
mod kv;
mod signals;
mod support;
