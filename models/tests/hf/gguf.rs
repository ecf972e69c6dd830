//! GGUF files opened as checkpoints.

use std::path::Path;

use kcache_models::chat::Message;
use kcache_models::{Checkpoint, Error};

use crate::builder::{Gguf, array, kind};

/// One block of hidden size 4 with two heads, and four tokens.
fn model() -> Gguf {
    let floats = |gguf: Gguf, name: &str, dims: &[u64]| {
        let n = dims.iter().product::<u64>() as usize;
        gguf.floats(name, dims, &vec![1.0; n])
    };
    let types: Vec<u8> = [1, 1, 1, 3_i32]
        .iter()
        .flat_map(|t| t.to_le_bytes())
        .collect();
    let mut gguf = Gguf::new()
        .str("general.architecture", "llama")
        .u32("llama.block_count", 1)
        .u32("llama.embedding_length", 4)
        .u32("llama.feed_forward_length", 8)
        .u32("llama.attention.head_count", 2)
        .u32("llama.context_length", 16)
        .f32("llama.attention.layer_norm_rms_epsilon", 1e-5)
        .str("tokenizer.ggml.model", "gpt2")
        .str("tokenizer.ggml.pre", "gpt-2")
        .strings("tokenizer.ggml.tokens", &["a", "b", "ab", "<|end|>"])
        .strings("tokenizer.ggml.merges", &["a b"])
        .raw(
            "tokenizer.ggml.token_type",
            kind::ARRAY,
            &array(kind::I32, 4, &types),
        );
    for (name, dims) in [
        ("token_embd.weight", &[4, 4][..]),
        ("output_norm.weight", &[4]),
        ("blk.0.attn_norm.weight", &[4]),
        ("blk.0.attn_q.weight", &[4, 4]),
        ("blk.0.attn_k.weight", &[4, 4]),
        ("blk.0.attn_v.weight", &[4, 4]),
        ("blk.0.attn_output.weight", &[4, 4]),
        ("blk.0.ffn_norm.weight", &[4]),
        ("blk.0.ffn_gate.weight", &[4, 8]),
        ("blk.0.ffn_up.weight", &[4, 8]),
        ("blk.0.ffn_down.weight", &[8, 4]),
    ] {
        gguf = floats(gguf, name, dims);
    }
    gguf
}

fn open(gguf: Gguf) -> Result<Checkpoint, Error> {
    let (_dir, path) = gguf.write();
    Checkpoint::open(&path)
}

#[test]
fn stop_ids_are_those_of_text_turn_and_message() {
    let gguf = model()
        .u32("tokenizer.ggml.bos_token_id", 0)
        .u32("tokenizer.ggml.eos_token_id", 3)
        .u32("tokenizer.ggml.eot_token_id", 3)
        .u32("tokenizer.ggml.eom_token_id", 1);
    let generation = open(gguf).unwrap().generation;
    assert_eq!(generation.eos_token_ids, [3, 1]);
    assert_eq!(generation.bos_token_id, Some(0));
    assert_eq!(generation.temperature, None);
}

#[test]
fn the_template_sees_the_special_tokens() {
    let gguf = model()
        .u32("tokenizer.ggml.bos_token_id", 2)
        .u32("tokenizer.ggml.eos_token_id", 3)
        .str("tokenizer.chat_template", "{{ bos_token }}+{{ eos_token }}");
    let template = open(gguf).unwrap().chat_template.unwrap();
    assert_eq!(template.render(&[], true).unwrap(), "ab+<|end|>");
}

#[test]
fn bytes_of_the_weights_are_counted() {
    let checkpoint = open(model()).unwrap();
    assert_eq!(
        checkpoint.weights.sizes().bytes,
        4 * (16 + 4 + 4 + 4 * 16 + 4 + 3 * 32)
    );
    assert!(checkpoint.chat_template.is_none());
    assert!(checkpoint.generation.eos_token_ids.is_empty());
}

#[track_caller]
fn refused(gguf: Gguf, expected: &str) {
    let message = open(gguf).unwrap_err().to_string();
    assert!(message.contains(expected), "no `{expected}` in: {message}");
}

#[test]
fn broken_metadata_is_named() {
    refused(
        model().u32("tokenizer.ggml.eos_token_id", 4),
        "eos_token_id is 4, but the embedding has 4 rows",
    );
    refused(
        model().u32("tokenizer.ggml.eot_token_id", 9),
        "eos_token_id is 9",
    );
    refused(
        model().u32("tokenizer.ggml.bos_token_id", 4),
        "bos_token_id is 4",
    );
    refused(
        model().str("tokenizer.ggml.eos_token_id", "3"),
        "tokenizer.ggml.eos_token_id is the string",
    );
    refused(
        model().u32("tokenizer.chat_template", 3),
        "tokenizer.chat_template is the integer 3",
    );
}

#[test]
fn the_demo_model_opens() {
    let model = "../cache/models/SmolLM2-135M-Instruct.Q4_1.gguf";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(model);
    assert!(
        path.exists(),
        "{} is missing: run `make model` first",
        path.display()
    );
    let checkpoint = Checkpoint::open(&path).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(checkpoint.config.n_layers, 30);
    assert_eq!(checkpoint.generation.eos_token_ids, [2]);
    // All of the file but its metadata, padding included.
    assert!((95_000_000..98_362_432).contains(&checkpoint.weights.sizes().bytes));
    let turn = Message {
        role: "user".to_owned(),
        content: "What is the capital of France?".to_owned(),
    };
    let prompt = checkpoint
        .chat_template
        .unwrap()
        .render(&[turn], true)
        .unwrap();
    let ids = checkpoint.tokenizer.encode(&prompt, false).unwrap();
    let expected = [
        1, 9690, 198, 2683, 359, 253, 5356, 5646, 11173, 3365, 3511, 308, 34519, 28, 7018, 411,
        407, 19712, 8182, 2, 198, 1, 4093, 198, 1780, 314, 260, 3575, 282, 4649, 47, 2, 198, 1,
        520, 9531, 198,
    ];
    assert_eq!(ids, expected);
}
