//! Configurations from GGUF metadata.

use std::collections::BTreeMap;

use kcache_models::arch::{Architecture, bind, config_from_gguf};
use kcache_models::config::{BiasConfig, ModelConfig, RopeScaling, RopeStyle};
use kcache_models::gguf::GgufFile;
use kcache_models::{Error, Result};

use crate::builder::{Gguf, array, kind, string};

/// A small model whose metadata can be replaced key by key.
struct Model {
    architecture: &'static str,
    /// Type and payload by key, without the architecture's name.
    keys: BTreeMap<&'static str, (u32, Vec<u8>)>,
    /// Dimensions as GGUF lists them, and elements.
    tensors: BTreeMap<&'static str, (Vec<u64>, Vec<f32>)>,
    n_tokens: usize,
}

/// One block: hidden 24, MLP 40, 6 heads and 2 KV heads of 4, 10 tokens.
fn model(architecture: &'static str) -> Model {
    Model {
        architecture,
        keys: BTreeMap::new(),
        tensors: BTreeMap::new(),
        n_tokens: 10,
    }
    .u32("block_count", 1)
    .u32("embedding_length", 24)
    .u32("feed_forward_length", 40)
    .u32("attention.head_count", 6)
    .u32("attention.head_count_kv", 2)
    .u32("context_length", 128)
    .f32("attention.layer_norm_rms_epsilon", 1e-5)
    .f32("rope.freq_base", 5e5)
    .u32("rope.dimension_count", 4)
    .ones("token_embd.weight", &[24, 10])
    .ones("output_norm.weight", &[24])
    .ones("blk.0.attn_norm.weight", &[24])
    .ones("blk.0.attn_q.weight", &[24, 24])
    .ones("blk.0.attn_k.weight", &[24, 8])
    .ones("blk.0.attn_v.weight", &[24, 8])
    .ones("blk.0.attn_output.weight", &[24, 24])
    .ones("blk.0.ffn_norm.weight", &[24])
    .ones("blk.0.ffn_gate.weight", &[24, 40])
    .ones("blk.0.ffn_up.weight", &[24, 40])
    .ones("blk.0.ffn_down.weight", &[40, 24])
}

impl Model {
    fn set(mut self, key: &'static str, kind: u32, payload: Vec<u8>) -> Self {
        self.keys.insert(key, (kind, payload));
        self
    }

    fn u32(self, key: &'static str, value: u32) -> Self {
        self.set(key, kind::U32, value.to_le_bytes().into())
    }

    fn f32(self, key: &'static str, value: f32) -> Self {
        self.set(key, kind::F32, value.to_le_bytes().into())
    }

    fn str(self, key: &'static str, value: &str) -> Self {
        self.set(key, kind::STRING, string(value.as_bytes()))
    }

    fn without(mut self, key: &str) -> Self {
        self.keys.remove(key).unwrap();
        self
    }

    fn floats(mut self, name: &'static str, dims: &[u64], values: &[f32]) -> Self {
        self.tensors.insert(name, (dims.into(), values.into()));
        self
    }

    fn ones(self, name: &'static str, dims: &[u64]) -> Self {
        let len = dims.iter().product::<u64>() as usize;
        self.floats(name, dims, &vec![1.0; len])
    }

    fn gguf(&self) -> Gguf {
        let gguf = Gguf::new()
            .str("general.architecture", self.architecture)
            .strings("tokenizer.ggml.tokens", &vec!["t"; self.n_tokens]);
        let gguf = self.keys.iter().fold(gguf, |gguf, (key, (kind, payload))| {
            gguf.raw(format!("{}.{key}", self.architecture), *kind, payload)
        });
        let tensors = self.tensors.iter();
        tensors.fold(gguf, |gguf, (name, (dims, values))| {
            gguf.floats(name, dims, values)
        })
    }

    fn open(&self) -> GgufFile {
        open(&self.gguf())
    }

    fn config(&self) -> Result<ModelConfig> {
        config_from_gguf(&self.open())
    }

    #[track_caller]
    fn invalid(&self, expected: &str) {
        let error = self.config().unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error}");
        assert_names(&error, expected);
    }

    #[track_caller]
    fn unsupported(&self, expected: &str) {
        unsupported(&self.gguf(), expected);
    }
}

fn open(gguf: &Gguf) -> GgufFile {
    let (_dir, path) = gguf.write();
    GgufFile::open(&path).unwrap()
}

#[track_caller]
fn unsupported(gguf: &Gguf, expected: &str) {
    let error = config_from_gguf(&open(gguf)).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    assert_names(&error, expected);
}

#[track_caller]
fn assert_names(error: &Error, expected: &str) {
    let message = error.to_string();
    for part in ["model.gguf: ", expected] {
        assert!(message.contains(part), "no `{part}` in: {message}");
    }
}

#[test]
fn llama_reads_every_field_and_binds() {
    let file = model("llama").open();
    let config = config_from_gguf(&file).unwrap();
    assert_eq!(config.architecture, Architecture::Llama);
    assert_eq!(config.n_layers, 1);
    assert_eq!((config.hidden_size, config.intermediate_size), (24, 40));
    assert_eq!(
        (config.n_heads, config.n_kv_heads, config.head_dim),
        (6, 2, 4)
    );
    assert_eq!((config.vocab_size, config.max_position), (10, 128));
    assert_eq!(config.rms_norm_eps, 1e-5);
    assert_eq!(config.rope.theta, 5e5);
    assert_eq!(config.rope.style, RopeStyle::Interleaved);
    assert_eq!(config.rope.scaling, RopeScaling::None);
    assert_eq!(config.bias, BiasConfig::default());
    assert!(config.tie_word_embeddings);
    assert!(bind(&config, &file).unwrap().lm_head.is_none());
}

#[test]
fn qwen2_rotates_halves_and_requires_biases() {
    let plain = model("qwen2").open();
    let config = config_from_gguf(&plain).unwrap();
    assert_eq!(config.architecture, Architecture::Qwen2);
    assert_eq!(config.rope.style, RopeStyle::HalfSplit);
    let message = bind(&config, &plain).unwrap_err().to_string();
    assert!(
        message.contains("blk.0.attn_q.bias is missing"),
        "{message}"
    );
    let biased = model("qwen2")
        .ones("blk.0.attn_q.bias", &[24])
        .ones("blk.0.attn_k.bias", &[8])
        .ones("blk.0.attn_v.bias", &[8])
        .open();
    let weights = bind(&config_from_gguf(&biased).unwrap(), &biased).unwrap();
    assert!(weights.layers[0].v.bias.is_some());
}

#[test]
fn missing_keys_have_llama_cpp_s_defaults() {
    let config = model("llama")
        .without("attention.head_count_kv")
        .without("rope.freq_base")
        .without("rope.dimension_count")
        .config()
        .unwrap();
    assert_eq!(config.n_kv_heads, 6);
    assert_eq!(config.rope.theta, 1e4);
}

#[test]
fn an_output_matrix_unties_the_head() {
    let untied = model("llama").ones("output.weight", &[24, 10]);
    assert!(!untied.config().unwrap().tie_word_embeddings);
}

#[test]
fn a_head_dim_of_its_own() {
    let own = |n| {
        let model = model("llama").u32("attention.key_length", n);
        model.u32("rope.dimension_count", n)
    };
    assert_eq!(own(6).config().unwrap().head_dim, 6);
    let value = |n| own(6).u32("attention.value_length", n);
    assert_eq!(value(6).config().unwrap().head_dim, 6);
    value(8).unsupported("llama.attention.value_length is the integer 8");
    own(5).invalid("llama.attention.key_length is the integer 5, expected an even number");
}

#[test]
fn rope_scaling() {
    let scaled = |kind: &str, factor: f32| {
        let model = model("llama").str("rope.scaling.type", kind);
        model.f32("rope.scaling.factor", factor)
    };
    let scaling = |model: Model| model.config().unwrap().rope.scaling;
    assert_eq!(
        scaling(scaled("linear", 4.0)),
        RopeScaling::Linear { factor: 4.0 }
    );
    assert_eq!(scaling(scaled("linear", 0.0)), RopeScaling::None);
    assert_eq!(scaling(scaled("none", 4.0)), RopeScaling::None);
    let old = model("llama").f32("rope.scale_linear", 2.0);
    assert_eq!(scaling(old), RopeScaling::Linear { factor: 2.0 });
    scaled("yarn", 4.0)
        .unsupported("llama.rope.scaling.type is the string \"yarn\"; supported: none, linear");
    for factor in [-1.0, 0.5, f32::NAN, f32::INFINITY] {
        scaled("linear", factor).invalid("llama.rope.scaling.factor is the float");
    }
}

#[test]
fn rope_divisors() {
    let divided = |values: &[f32]| {
        let dims = [values.len() as u64];
        model("llama").floats("rope_freqs.weight", &dims, values)
    };
    let scaling = divided(&[1.0, 8.0]).config().unwrap().rope.scaling;
    assert_eq!(scaling, RopeScaling::Divisors(vec![1.0, 8.0]));
    divided(&[1.0; 3]).invalid("rope_freqs.weight: has shape [1, 3], expected [head_dim / 2 = 2]");
    divided(&[1.0, 0.0]).invalid("rope_freqs.weight: holds 0, expected a number from");
    divided(&[1.0, f32::NAN]).invalid("rope_freqs.weight: element 1 is NaN");
    divided(&[1.0, 8.0])
        .f32("rope.scaling.factor", 2.0)
        .unsupported("rope_freqs.weight");
}

#[test]
fn partial_rotation() {
    let rotated = |n| model("llama").u32("rope.dimension_count", n);
    rotated(2).unsupported("llama.rope.dimension_count is the integer 2; supported: 4");
    rotated(6).invalid("llama.rope.dimension_count is the integer 6");
    rotated(0).invalid("llama.rope.dimension_count is the integer 0");
}

#[test]
fn dimensions_out_of_bounds() {
    for (key, values) in [
        ("block_count", [0, 1_000_000_000, u32::MAX]),
        ("embedding_length", [0, 25, u32::MAX]),
        ("feed_forward_length", [0, 1 << 30, u32::MAX]),
        ("attention.head_count", [0, 7, u32::MAX]),
        ("attention.head_count_kv", [0, 4, u32::MAX]),
        ("context_length", [0, 1 << 31, u32::MAX]),
    ] {
        for value in values {
            let error = model("llama").u32(key, value).config().unwrap_err();
            for part in ["at byte ", "llama.", &value.to_string()] {
                assert_names(&error, part);
            }
        }
    }
}

#[test]
fn keys_missing_or_of_another_type() {
    let missing = model("llama").without("block_count");
    missing.invalid("llama.block_count is missing, expected an integer");
    let missing = model("llama").without("context_length");
    missing.invalid("llama.context_length is missing");
    let text = model("llama").str("block_count", "1");
    text.invalid("llama.block_count is the string \"1\", expected an unsigned");
    let per_layer = array(kind::U32, 1, &6u32.to_le_bytes());
    let list = model("llama").set("attention.head_count", kind::ARRAY, per_layer);
    list.invalid("llama.attention.head_count is an array of 1 uint32 elements");
}

#[test]
fn vocabulary_and_embedding_disagree() {
    let mut broken = model("llama");
    broken.n_tokens = 9;
    broken.invalid(
        "tokenizer.ggml.tokens is an array of 9 string elements, \
         expected 10 elements, the rows of token_embd.weight",
    );
    broken.tensors.remove("token_embd.weight").unwrap();
    broken.invalid("tensor token_embd.weight is missing");
}

#[test]
fn other_models() {
    model("mistral3")
        .unsupported("general.architecture is the string \"mistral3\"; supported: llama, qwen2");
    let experts = model("llama").u32("expert_count", 8);
    experts.unsupported("llama.expert_count is the integer 8");
    let encoder = model("qwen2").set("attention.causal", kind::BOOL, vec![0]);
    encoder.unsupported("qwen2.attention.causal is the bool false");
    let split = model("llama").gguf().u32("split.count", 4);
    unsupported(&split, "split.count is the integer 4; supported: 1");
}
