//! `config.json` files that no model can have: one error naming key, value and bound.

use kcache_models::Error;
use serde_json::{Value, json};

use crate::hf_config::{llama, qwen2, read, with, without};

#[track_caller]
fn invalid(config: &Value, expected: &str) {
    let error = read(config).unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, Error::Invalid { .. }), "{message}");
    assert!(message.starts_with("model/config.json: "), "{message}");
    assert!(message.contains(expected), "no `{expected}` in: {message}");
}

#[track_caller]
fn unsupported(config: &Value, expected: &str) {
    let error = read(config).unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, Error::Unsupported { .. }), "{message}");
    assert!(message.starts_with("model/config.json: "), "{message}");
    assert!(message.contains(expected), "no `{expected}` in: {message}");
}

const INTEGERS: [&str; 8] = [
    "num_hidden_layers",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
    "max_position_embeddings",
];

#[test]
fn integers_of_another_kind_or_out_of_bounds() {
    for key in INTEGERS {
        for (value, shown) in [
            (json!(0), "0"),
            (json!(-1), "-1"),
            (json!(1_u64 << 40), "1099511627776"),
            (json!(u64::MAX), "18446744073709551615"),
            (json!(32.0), "32.0"),
            (json!(1e300), "1e+300"),
            (json!("32"), "\"32\""),
            (json!([32]), "[32]"),
            (json!({}), "{}"),
            (json!(true), "true"),
        ] {
            let expected = format!("{key} is {shown}, expected an integer from ");
            invalid(&with(llama(), key, value), &expected);
        }
    }
    let layers = with(llama(), "num_hidden_layers", json!(1_000_000_000));
    invalid(
        &layers,
        "num_hidden_layers is 1000000000, expected an integer from 1 to 4096",
    );
}

#[test]
fn missing_integers() {
    for key in [
        "num_hidden_layers",
        "hidden_size",
        "intermediate_size",
        "num_attention_heads",
        "vocab_size",
    ] {
        invalid(
            &without(llama(), key),
            &format!("{key} is missing, expected an integer"),
        );
        let null = with(llama(), key, Value::Null);
        invalid(&null, &format!("{key} is null, expected an integer"));
    }
    invalid(&without(llama(), "rms_norm_eps"), "rms_norm_eps is missing");
}

#[test]
fn heads_that_do_not_fit_together() {
    invalid(
        &with(llama(), "num_key_value_heads", json!(5)),
        "num_key_value_heads is 5, expected a divisor of num_attention_heads = 32",
    );
    invalid(
        &with(llama(), "num_key_value_heads", json!(64)),
        "num_key_value_heads is 64, expected a divisor",
    );
    invalid(
        &with(llama(), "head_dim", json!(63)),
        "head_dim is 63, expected an even number",
    );
    let derived = without(llama(), "head_dim");
    for size in [16, 2047, 2080] {
        invalid(
            &with(derived.clone(), "hidden_size", json!(size)),
            &format!("hidden_size is {size}, expected heads of an even size"),
        );
    }
}

#[test]
fn numbers_of_another_kind_or_out_of_bounds() {
    for key in ["rope_theta", "rms_norm_eps"] {
        for (value, shown) in [
            (json!(0), "0"),
            (json!(-1.0), "-1.0"),
            (json!(1e300), "1e+300"),
            (json!("10000"), "\"10000\""),
            (json!("NaN"), "\"NaN\""),
            (json!(false), "false"),
        ] {
            let expected = format!("{key} is {shown}, expected a number from ");
            invalid(&with(llama(), key, value), &expected);
        }
    }
}

#[test]
fn flags_and_texts_of_another_kind() {
    for key in ["tie_word_embeddings", "attention_bias", "mlp_bias"] {
        for value in [json!(1), json!("true")] {
            invalid(&with(llama(), key, value), &format!("{key} is "));
        }
    }
    invalid(
        &with(llama(), "hidden_act", json!(1)),
        "hidden_act is 1, expected a string",
    );
    invalid(
        &with(llama(), "architectures", json!("x")),
        "expected a list of strings",
    );
    invalid(
        &with(llama(), "rope_scaling", json!([])),
        "rope_scaling is [], expected an object",
    );
}

#[test]
fn rope_scaling() {
    let set = |key: &str, value| with(llama(), &format!("rope_scaling.{key}"), value);
    for kind in ["yarn", "dynamic", "longrope", ""] {
        unsupported(
            &set("rope_type", json!(kind)),
            &format!("rope_scaling.rope_type is \"{kind}\"; supported: default, linear, llama3"),
        );
    }
    for key in ["factor", "low_freq_factor", "high_freq_factor"] {
        for value in [json!(0), json!(-8.0), json!(1e30), json!("8"), Value::Null] {
            invalid(&set(key, value), &format!("rope_scaling.{key} is "));
        }
    }
    invalid(
        &set("high_freq_factor", json!(1.0)),
        "rope_scaling.high_freq_factor is 1.0, expected more than low_freq_factor = 1",
    );
    invalid(
        &set("original_max_position_embeddings", json!(0)),
        "rope_scaling.original_max_position_embeddings is 0",
    );
    invalid(
        &with(llama(), "rope_scaling", json!({"factor": 2.0})),
        "rope_scaling.rope_type is missing, expected default, linear or llama3",
    );
    let partial = json!({"rope_type": "default", "partial_rotary_factor": 0.5});
    unsupported(
        &with(llama(), "rope_parameters", partial),
        "rope_parameters.partial_rotary_factor is 0.5",
    );
}

#[test]
fn other_architectures() {
    for name in ["mistral", "gpt2", "LLAMA", ""] {
        unsupported(
            &with(llama(), "model_type", json!(name)),
            &format!("model_type is \"{name}\"; supported: llama, qwen2"),
        );
    }
    invalid(
        &without(llama(), "model_type"),
        "model_type is missing, expected one of: llama, qwen2",
    );
    let classifier = json!(["LlamaForSequenceClassification"]);
    unsupported(
        &with(llama(), "architectures", classifier),
        "supported: LlamaForCausalLM",
    );
}

#[test]
fn variants_that_would_compute_something_else() {
    unsupported(
        &with(llama(), "hidden_act", json!("gelu")),
        "hidden_act is \"gelu\"; supported: silu",
    );
    let quantized = with(
        llama(),
        "quantization_config",
        json!({"quant_method": "gptq"}),
    );
    unsupported(&quantized, "quantization_config is ");
    let sliding = with(qwen2(), "use_sliding_window", json!(true));
    unsupported(&sliding, "use_sliding_window is true; supported: false");
    let mixed = with(
        qwen2(),
        "layer_types",
        json!(["full_attention", "sliding_attention"]),
    );
    unsupported(&mixed, "supported: full_attention");
}

#[test]
fn long_values_are_shortened_in_messages() {
    let config = with(llama(), "hidden_size", json!("x".repeat(10_000)));
    let message = read(&config).unwrap_err().to_string();
    assert!(message.len() < 300, "{message}");
}
