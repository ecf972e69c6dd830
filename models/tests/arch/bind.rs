//! Weights found, checked and refused.

use kcache_models::arch::{Architecture, Naming, bind};
use kcache_models::config::{BiasConfig, ModelConfig, RopeConfig, RopeScaling, RopeStyle};
use kcache_models::{DType, Error};

use crate::fake::Fake;

/// Every dimension different, so that no mistaken shape passes.
fn config() -> ModelConfig {
    ModelConfig {
        architecture: Architecture::Llama,
        n_layers: 2,
        hidden_size: 24,
        intermediate_size: 40,
        n_heads: 6,
        n_kv_heads: 2,
        head_dim: 8,
        vocab_size: 50,
        max_position: 64,
        rms_norm_eps: 1e-5,
        rope: RopeConfig {
            theta: 1e4,
            style: RopeStyle::HalfSplit,
            scaling: RopeScaling::None,
        },
        tie_word_embeddings: false,
        bias: BiasConfig::default(),
    }
}

fn hf() -> Fake {
    let mut fake = Fake::new(Naming::Hf);
    fake.ones("model.embed_tokens.weight", [50, 24]);
    fake.ones("model.norm.weight", [1, 24]);
    fake.ones("lm_head.weight", [50, 24]);
    for layer in ["model.layers.0", "model.layers.1"] {
        fake.ones(&format!("{layer}.input_layernorm.weight"), [1, 24]);
        fake.ones(&format!("{layer}.self_attn.q_proj.weight"), [48, 24]);
        fake.ones(&format!("{layer}.self_attn.k_proj.weight"), [16, 24]);
        fake.ones(&format!("{layer}.self_attn.v_proj.weight"), [16, 24]);
        fake.ones(&format!("{layer}.self_attn.o_proj.weight"), [24, 48]);
        fake.ones(&format!("{layer}.post_attention_layernorm.weight"), [1, 24]);
        fake.ones(&format!("{layer}.mlp.gate_proj.weight"), [40, 24]);
        fake.ones(&format!("{layer}.mlp.up_proj.weight"), [40, 24]);
        fake.ones(&format!("{layer}.mlp.down_proj.weight"), [24, 40]);
    }
    fake
}

fn gguf() -> Fake {
    let mut fake = Fake::new(Naming::Gguf);
    fake.ones("token_embd.weight", [50, 24]);
    fake.ones("output_norm.weight", [1, 24]);
    fake.ones("output.weight", [50, 24]);
    for layer in ["blk.0", "blk.1"] {
        fake.ones(&format!("{layer}.attn_norm.weight"), [1, 24]);
        fake.ones(&format!("{layer}.attn_q.weight"), [48, 24]);
        fake.ones(&format!("{layer}.attn_k.weight"), [16, 24]);
        fake.ones(&format!("{layer}.attn_v.weight"), [16, 24]);
        fake.ones(&format!("{layer}.attn_output.weight"), [24, 48]);
        fake.ones(&format!("{layer}.ffn_norm.weight"), [1, 24]);
        fake.ones(&format!("{layer}.ffn_gate.weight"), [40, 24]);
        fake.ones(&format!("{layer}.ffn_up.weight"), [40, 24]);
        fake.ones(&format!("{layer}.ffn_down.weight"), [24, 40]);
    }
    fake
}

#[track_caller]
fn refuse(config: &ModelConfig, source: &Fake, expected: &str) {
    let error = bind(config, source).unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, Error::Invalid { .. }), "{message}");
    for part in ["model/weights: tensor ", expected] {
        assert!(message.contains(part), "no `{part}` in: {message}");
    }
}

#[test]
fn both_namings_bind_the_same_roles() {
    for source in [hf(), gguf()] {
        let weights = bind(&config(), &source).unwrap();
        assert_eq!(weights.layers.len(), 2);
        assert_eq!(weights.embedding.rows(), 50);
        assert_eq!(weights.lm_head.unwrap().rows(), 50);
        let shapes = weights.layers.iter().map(|layer| {
            let l = [
                &layer.q,
                &layer.k,
                &layer.v,
                &layer.o,
                &layer.gate,
                &layer.up,
                &layer.down,
            ];
            l.map(|linear| (linear.weight.rows(), linear.weight.cols()))
        });
        for shape in shapes {
            let expected = [
                (48, 24),
                (16, 24),
                (16, 24),
                (24, 48),
                (40, 24),
                (40, 24),
                (24, 40),
            ];
            assert_eq!(shape, expected);
        }
    }
}

/// Names of bound tensors, in the order of their roles.
#[test]
fn each_role_gets_its_own_tensor() {
    let weights = bind(&config(), &hf()).unwrap();
    let layer = &weights.layers[1];
    for (tensor, name) in [
        (&layer.attn_norm, "input_layernorm"),
        (&layer.k.weight, "self_attn.k_proj"),
        (&layer.v.weight, "self_attn.v_proj"),
        (&layer.mlp_norm, "post_attention_layernorm"),
        (&layer.gate.weight, "mlp.gate_proj"),
        (&layer.up.weight, "mlp.up_proj"),
    ] {
        assert_eq!(tensor.name(), format!("model.layers.1.{name}.weight"));
    }
    let weights = bind(&config(), &gguf()).unwrap();
    let layer = &weights.layers[1];
    for (tensor, name) in [
        (&layer.attn_norm, "attn_norm"),
        (&layer.k.weight, "attn_k"),
        (&layer.v.weight, "attn_v"),
        (&layer.mlp_norm, "ffn_norm"),
        (&layer.gate.weight, "ffn_gate"),
        (&layer.up.weight, "ffn_up"),
    ] {
        assert_eq!(tensor.name(), format!("blk.1.{name}.weight"));
    }
}

/// A tied model leaves out the head, and a copy of it in the file.
#[test]
fn tied_models_need_no_head() {
    let mut tied = config();
    tied.tie_word_embeddings = true;
    assert!(bind(&tied, &hf()).unwrap().lm_head.is_none());
    let mut source = hf();
    source.remove("lm_head.weight");
    assert!(bind(&tied, &source).unwrap().lm_head.is_none());
    refuse(
        &config(),
        &source,
        "tensor lm_head.weight is missing, expected [vocab_size = 50, hidden_size = 24]",
    );
}

#[test]
fn every_missing_tensor_is_named() {
    for (name, expected) in [
        (
            "model.embed_tokens.weight",
            "[vocab_size = 50, hidden_size = 24]",
        ),
        ("model.norm.weight", "[hidden_size = 24]"),
        (
            "model.layers.1.self_attn.k_proj.weight",
            "[kv_heads * head_dim = 16, hidden_size = 24]",
        ),
        (
            "model.layers.1.mlp.down_proj.weight",
            "[hidden_size = 24, intermediate_size = 40]",
        ),
    ] {
        let mut source = hf();
        source.remove(name);
        refuse(
            &config(),
            &source,
            &format!("tensor {name} is missing, expected {expected}"),
        );
    }
    let mut deeper = config();
    deeper.n_layers = 4096;
    refuse(&deeper, &gguf(), "tensor blk.2.attn_norm.weight is missing");
}

#[test]
fn every_wrong_shape_is_named() {
    for (name, found, expected) in [
        (
            "token_embd.weight",
            [49, 24],
            "[vocab_size = 50, hidden_size = 24]",
        ),
        (
            "blk.0.attn_q.weight",
            [24, 48],
            "[heads * head_dim = 48, hidden_size = 24]",
        ),
        (
            "blk.1.attn_output.weight",
            [48, 24],
            "[hidden_size = 24, heads * head_dim = 48]",
        ),
        ("blk.1.ffn_norm.weight", [1, 23], "[hidden_size = 24]"),
        ("blk.1.ffn_norm.weight", [24, 1], "[hidden_size = 24]"),
        (
            "output.weight",
            [24, 50],
            "[vocab_size = 50, hidden_size = 24]",
        ),
    ] {
        let mut source = gguf();
        source.ones(name, found);
        let expected = format!("tensor {name}: has shape {found:?}, expected {expected}");
        refuse(&config(), &source, &expected);
    }
}

#[test]
fn vectors_are_finite_floats_and_norms_not_all_zero() {
    let mut wide = config();
    wide.hidden_size = 32;
    let mut source = Fake::new(Naming::Gguf);
    source.ones("token_embd.weight", [50, 32]);
    source.set("blk.0.attn_norm.weight", DType::Q8_0, [1, 32], &[0]);
    refuse(
        &wide,
        &source,
        "blk.0.attn_norm.weight: has type Q8_0, expected F32, F16 or BF16",
    );

    const NORM: &str = "model.layers.0.input_layernorm.weight";
    let set = |dtype, bytes: &[u8]| {
        let mut source = hf();
        source.set(NORM, dtype, [1, 24], bytes);
        source
    };
    refuse(
        &config(),
        &set(DType::F32, &[0]),
        &format!("{NORM}: all elements are zero"),
    );
    let nan = set(DType::F32, &f32::NAN.to_le_bytes());
    refuse(&config(), &nan, &format!("{NORM}: element 0 is NaN"));
    let inf = set(DType::F16, &half::f16::INFINITY.to_le_bytes());
    refuse(&config(), &inf, &format!("{NORM}: element 0 is inf"));
    let one = half::bf16::ONE.to_le_bytes();
    bind(&config(), &set(DType::BF16, &one)).unwrap();
}

#[test]
fn matrices_may_be_quantised() {
    let mut wide = config();
    wide.n_layers = 1;
    wide.hidden_size = 256;
    let mut source = gguf();
    for (name, rows, cols) in [
        ("token_embd", 50, 256),
        ("output", 50, 256),
        ("blk.0.attn_q", 48, 256),
        ("blk.0.attn_k", 16, 256),
        ("blk.0.attn_v", 16, 256),
        ("blk.0.ffn_gate", 40, 256),
        ("blk.0.ffn_up", 40, 256),
    ] {
        source.set(&format!("{name}.weight"), DType::Q6K, [rows, cols], &[1]);
    }
    source.ones("blk.0.attn_output.weight", [256, 48]);
    source.ones("blk.0.ffn_down.weight", [256, 40]);
    for name in ["blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"] {
        source.ones(&format!("{name}.weight"), [1, 256]);
    }
    let weights = bind(&wide, &source).unwrap();
    assert_eq!(weights.layers[0].q.weight.dtype(), DType::Q6K);
}

#[test]
fn biases_are_bound_exactly_where_the_configuration_says() {
    let mut biased = config();
    biased.bias.qkv = true;
    let mut source = hf();
    for layer in 0..2 {
        for (part, len) in [("q", 48), ("k", 16), ("v", 16)] {
            source.ones(
                &format!("model.layers.{layer}.self_attn.{part}_proj.bias"),
                [1, len],
            );
        }
    }
    let weights = bind(&biased, &source).unwrap();
    let layer = &weights.layers[1];
    assert_eq!(layer.k.bias.as_ref().unwrap().cols(), 16);
    assert!(layer.o.bias.is_none() && layer.up.bias.is_none());

    const LAST: &str = "model.layers.1.self_attn.v_proj.bias";
    refuse(
        &config(),
        &source,
        "q_proj.bias: is there, but the configuration has no such bias",
    );
    source.ones(LAST, [1, 48]);
    refuse(&biased, &source, &format!("{LAST}: has shape [1, 48]"));
    source.remove(LAST);
    refuse(
        &biased,
        &source,
        &format!("{LAST} is missing, expected [kv_heads * head_dim = 16]"),
    );
}

/// A bias may be all zero, unlike a norm.
#[test]
fn zero_biases_are_fine() {
    let mut biased = config();
    biased.n_layers = 1;
    biased.bias.mlp = true;
    let mut source = gguf();
    for (part, len) in [("gate", 40), ("up", 40), ("down", 24)] {
        source.set(
            &format!("blk.0.ffn_{part}.bias"),
            DType::F32,
            [1, len],
            &[0],
        );
    }
    assert!(
        bind(&biased, &source).unwrap().layers[0]
            .down
            .bias
            .is_some()
    );
}
