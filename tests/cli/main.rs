//! The binary as a user meets it: flags in, text, figures and exit codes out.
#![allow(clippy::expect_used, clippy::panic)] // helpers of tests fail by panicking

#[path = "../common/mod.rs"]
mod common;

mod bench;
mod chat;
mod device;
mod errors;
mod eval;
mod generate;
mod help;
mod inspect;
mod kv;
mod linking;
mod manual;
mod profile;
mod serve;
mod signals;
mod support;
