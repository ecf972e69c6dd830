//! Safetensors files, single and sharded.
