//! The GGUF reader and the configurations and weights read through it.

#![cfg(test)]

mod allocation;
mod builder;
mod config;
mod malformed;
mod read;
