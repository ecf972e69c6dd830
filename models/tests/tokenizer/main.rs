//! Tokenizers from GGUF metadata and from tokenizer.json, against reference ids.

#![cfg(test)]

#[allow(dead_code)] // shared with the tests of the GGUF reader
#[path = "../gguf/builder.rs"]
mod builder;
mod data;
mod demo;
mod gguf_malformed;
mod hf;
mod hf_malformed;
mod random;
mod sentencepiece;
mod stream;
