//! Checkpoints of random weights, exact in bf16.

use std::fs;
use std::path::PathBuf;

use half::bf16;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

const VOCABULARY: usize = 320;

/// A small model.
pub struct Shape {
    pub hidden: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub dim: usize,
    pub intermediate: usize,
    pub layers: usize,
    /// Biases of Q, K and V, and an output head of its own.
    pub qwen2: bool,
}

/// Heads of 64, two to a group.
pub const GROUPED: Shape = Shape {
    hidden: 72,
    heads: 4,
    kv_heads: 2,
    dim: 64,
    intermediate: 104,
    layers: 2,
    qwen2: true,
};

/// As little as the kernels take: what is tested is the order of things.
pub const SMALLEST: Shape = Shape {
    hidden: 32,
    heads: 2,
    kv_heads: 1,
    dim: 64,
    intermediate: 32,
    layers: 2,
    qwen2: false,
};

/// Heads of 96, each with its own K and V.
pub const ALONE: Shape = Shape {
    hidden: 64,
    heads: 1,
    kv_heads: 1,
    dim: 96,
    intermediate: 64,
    layers: 2,
    qwen2: false,
};

impl Shape {
    /// Writes a checkpoint of this shape.
    pub fn write(&self, seed: u64) -> TempDir {
        println!("seed {seed}");
        let folder = tempfile::tempdir().expect("a folder");
        // A machine with a GPU may have the tests and not the repository.
        let root = std::env::var_os("KCACHE_TEST_DATA");
        let root = root.map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
        let fixture = root.join("tests/data/checkpoints/qwen2-bf16");
        for name in ["tokenizer.json", "tokenizer_config.json"] {
            fs::copy(fixture.join(name), folder.path().join(name)).expect("the fixture");
        }
        let config = serde_json::to_vec(&self.config()).expect("JSON");
        fs::write(folder.path().join("config.json"), config).expect("a file");
        let weights = safetensors(&self.tensors(), ChaCha8Rng::seed_from_u64(seed));
        fs::write(folder.path().join("model.safetensors"), weights).expect("a file");
        folder
    }

    fn config(&self) -> Value {
        let (class, kind) = match self.qwen2 {
            true => ("Qwen2ForCausalLM", "qwen2"),
            false => ("LlamaForCausalLM", "llama"),
        };
        json!({
            "architectures": [class],
            "model_type": kind,
            "hidden_act": "silu",
            "vocab_size": VOCABULARY,
            "eos_token_id": 2,
            "num_hidden_layers": self.layers,
            "hidden_size": self.hidden,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.dim,
            "intermediate_size": self.intermediate,
            "max_position_embeddings": 256,
            "rms_norm_eps": 1e-6,
            "rope_theta": 10000.0,
            "tie_word_embeddings": !self.qwen2,
            "torch_dtype": "bfloat16",
        })
    }

    /// Names and shapes of all tensors.
    fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (hidden, inner) = (self.hidden, self.intermediate);
        let (q, kv) = (self.heads * self.dim, self.kv_heads * self.dim);
        let mut tensors = vec![
            (
                "model.embed_tokens.weight".to_owned(),
                vec![VOCABULARY, hidden],
            ),
            ("model.norm.weight".to_owned(), vec![hidden]),
        ];
        if self.qwen2 {
            tensors.push(("lm_head.weight".to_owned(), vec![VOCABULARY, hidden]));
        }
        for layer in 0..self.layers {
            let mut add = |name: &str, shape: &[usize]| {
                tensors.push((format!("model.layers.{layer}.{name}"), shape.to_vec()));
            };
            add("input_layernorm.weight", &[hidden]);
            add("post_attention_layernorm.weight", &[hidden]);
            for (name, out) in [("q", q), ("k", kv), ("v", kv)] {
                add(&format!("self_attn.{name}_proj.weight"), &[out, hidden]);
                if self.qwen2 {
                    add(&format!("self_attn.{name}_proj.bias"), &[out]);
                }
            }
            add("self_attn.o_proj.weight", &[hidden, q]);
            add("mlp.gate_proj.weight", &[inner, hidden]);
            add("mlp.up_proj.weight", &[inner, hidden]);
            add("mlp.down_proj.weight", &[hidden, inner]);
        }
        tensors
    }
}

/// A file of random tensors: norms around 1, others that keep the size of what
/// they multiply.
fn safetensors(tensors: &[(String, Vec<usize>)], mut rng: ChaCha8Rng) -> Vec<u8> {
    let (mut header, mut data) = (Map::new(), Vec::new());
    for (name, shape) in tensors {
        let start = data.len();
        let scale = 2.0 / (shape.last().copied().unwrap_or(1) as f32).sqrt();
        for _ in 0..shape.iter().product() {
            let x: f32 = rng.random_range(-1.0..1.0);
            let x = match name.contains("norm") {
                true => 1.0 + 0.3 * x,
                false => scale * x,
            };
            data.extend(bf16::from_f32(x).to_le_bytes());
        }
        let entry = json!({"dtype": "BF16", "shape": shape, "data_offsets": [start, data.len()]});
        header.insert(name.clone(), entry);
    }
    let mut header = serde_json::to_vec(&header).expect("JSON");
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend(data);
    file
}
