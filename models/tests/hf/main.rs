//! Checkpoints opened whole: Hugging Face directories, sound and broken, and GGUF files.

#![cfg(test)]

#[allow(dead_code)] // shared with the tests of the GGUF reader
#[path = "../gguf/builder.rs"]
mod builder;
mod folder;
mod generation;
mod gguf;
mod index;
mod open;
mod safetensors;
