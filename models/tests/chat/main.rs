//! Chat templates: real ones against Hugging Face's renderer, hostile ones against the limits.

#![cfg(test)]

mod hostile;
mod render;
