//! Sound `config.json` files of the kinds found in the wild.

use std::path::Path;

use kcache_models::arch::{Architecture, config_from_hf};
use kcache_models::config::{BiasConfig, ModelConfig, RopeScaling, RopeStyle};
use serde_json::{Value, json};

pub fn read(json: &Value) -> kcache_models::Result<ModelConfig> {
    config_from_hf(Path::new("model/config.json"), json.as_object().unwrap())
}

/// The shape of Llama 3.2 1B.
pub fn llama() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": false,
        "attention_dropout": 0.0,
        "bos_token_id": 128_000,
        "eos_token_id": [128_001, 128_008],
        "head_dim": 64,
        "hidden_act": "silu",
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "max_position_embeddings": 131_072,
        "mlp_bias": false,
        "model_type": "llama",
        "num_attention_heads": 32,
        "num_hidden_layers": 16,
        "num_key_value_heads": 8,
        "pretraining_tp": 1,
        "rms_norm_eps": 1e-5,
        "rope_scaling": {
            "factor": 32.0,
            "high_freq_factor": 4.0,
            "low_freq_factor": 1.0,
            "original_max_position_embeddings": 8192,
            "rope_type": "llama3"
        },
        "rope_theta": 500_000.0,
        "tie_word_embeddings": true,
        "torch_dtype": "bfloat16",
        "vocab_size": 128_256
    })
}

/// The shape of Qwen2.5 0.5B.
pub fn qwen2() -> Value {
    json!({
        "architectures": ["Qwen2ForCausalLM"],
        "hidden_act": "silu",
        "hidden_size": 896,
        "intermediate_size": 4864,
        "max_position_embeddings": 32_768,
        "max_window_layers": 21,
        "model_type": "qwen2",
        "num_attention_heads": 14,
        "num_hidden_layers": 24,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1_000_000.0,
        "sliding_window": 32_768,
        "tie_word_embeddings": true,
        "use_sliding_window": false,
        "vocab_size": 151_936
    })
}

/// `config` with `key` (dots lead into objects) set to `value`.
pub fn with(mut config: Value, key: &str, value: Value) -> Value {
    let pointer = format!("/{}", key.replace('.', "/"));
    match config.pointer_mut(&pointer) {
        Some(old) => *old = value,
        None => config[key] = value,
    }
    config
}

pub fn without(mut config: Value, key: &str) -> Value {
    config.as_object_mut().unwrap().shift_remove(key).unwrap();
    config
}

#[test]
fn llama_3_reads_every_field() {
    let config = read(&llama()).unwrap();
    assert_eq!(config.architecture, Architecture::Llama);
    assert_eq!(config.n_layers, 16);
    assert_eq!(config.hidden_size, 2048);
    assert_eq!(config.intermediate_size, 8192);
    assert_eq!(
        (config.n_heads, config.n_kv_heads, config.head_dim),
        (32, 8, 64)
    );
    assert_eq!(config.vocab_size, 128_256);
    assert_eq!(config.max_position, 131_072);
    assert_eq!(config.rms_norm_eps, 1e-5);
    assert_eq!(config.rope.theta, 500_000.0);
    assert_eq!(config.rope.style, RopeStyle::HalfSplit);
    assert_eq!(
        config.rope.scaling,
        RopeScaling::Llama3 {
            factor: 32.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position: 8192,
        }
    );
    assert!(config.tie_word_embeddings);
    assert_eq!(config.bias, BiasConfig::default());
}

/// Files of the first Llamas name neither KV heads nor RoPE.
#[test]
fn missing_keys_have_the_reference_library_s_defaults() {
    let mut config = llama();
    for key in [
        "architectures",
        "attention_bias",
        "head_dim",
        "hidden_act",
        "max_position_embeddings",
        "mlp_bias",
        "num_key_value_heads",
        "rope_scaling",
        "rope_theta",
        "tie_word_embeddings",
    ] {
        config = without(config, key);
    }
    let config = read(&config).unwrap();
    assert_eq!(config.n_kv_heads, 32);
    assert_eq!(config.head_dim, 64);
    assert_eq!(config.max_position, 2048);
    assert_eq!(config.rope.theta, 10_000.0);
    assert_eq!(config.rope.scaling, RopeScaling::None);
    assert!(!config.tie_word_embeddings);
}

#[test]
fn null_is_the_same_as_missing() {
    let mut config = llama();
    for key in ["head_dim", "num_key_value_heads", "rope_scaling"] {
        config = with(config, key, Value::Null);
    }
    let config = read(&config).unwrap();
    assert_eq!((config.n_kv_heads, config.head_dim), (32, 64));
    assert_eq!(config.rope.scaling, RopeScaling::None);
}

#[test]
fn a_head_dim_of_its_own_need_not_divide_the_hidden_size() {
    let config = with(
        with(llama(), "head_dim", json!(96)),
        "hidden_size",
        json!(1000),
    );
    let config = read(&config).unwrap();
    assert_eq!(config.q_dim(), 32 * 96);
    assert_eq!(config.kv_dim(), 8 * 96);
}

#[test]
fn biases_follow_their_flags() {
    let config = read(&with(llama(), "attention_bias", json!(true))).unwrap();
    assert!(config.bias.qkv && config.bias.attn_output && !config.bias.mlp);
    let config = read(&with(llama(), "mlp_bias", json!(true))).unwrap();
    assert!(!config.bias.qkv && !config.bias.attn_output && config.bias.mlp);
}

#[test]
fn linear_scaling_is_read_under_either_name() {
    for kind in ["type", "rope_type"] {
        let scaling = json!({kind: "linear", "factor": 4});
        let config = read(&with(llama(), "rope_scaling", scaling)).unwrap();
        assert_eq!(config.rope.scaling, RopeScaling::Linear { factor: 4.0 });
    }
}

/// As version 5 of `transformers` writes.
#[test]
fn rope_parameters_hold_theta_and_scaling() {
    let plain = json!({"rope_theta": 7e5, "rope_type": "default"});
    let old = without(without(llama(), "rope_scaling"), "rope_theta");
    let config = read(&with(old.clone(), "rope_parameters", plain)).unwrap();
    assert_eq!(config.rope.theta, 7e5);
    assert_eq!(config.rope.scaling, RopeScaling::None);

    let linear = json!({"rope_theta": 7e5, "rope_type": "linear", "factor": 2.0});
    let config = read(&with(old, "rope_parameters", linear)).unwrap();
    assert_eq!(config.rope.scaling, RopeScaling::Linear { factor: 2.0 });
}

#[test]
fn qwen2_has_biases_on_q_k_and_v() {
    let config = read(&qwen2()).unwrap();
    assert_eq!(config.architecture, Architecture::Qwen2);
    assert_eq!(
        (config.n_heads, config.n_kv_heads, config.head_dim),
        (14, 2, 64)
    );
    assert!(config.bias.qkv && !config.bias.attn_output && !config.bias.mlp);
    assert_eq!(config.rope.style, RopeStyle::HalfSplit);
    let full = json!(["full_attention", "full_attention"]);
    read(&with(qwen2(), "layer_types", full)).unwrap();
}
