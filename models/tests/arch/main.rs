//! Configurations from `config.json`, and weights bound against them.

#![cfg(test)]

mod bind;
mod fake;
mod hf_config;
mod hf_malformed;
