//! Random checkpoints of every architecture against the logits of a float64
//! forward pass (tools/reference/random_checkpoint.py).

#![cfg(test)]

mod common;

use common::{context, fixture, never, nmse, repository, worst};
use kcache::cache::KvPolicy;
use kcache::engine::Step;
use serde_json::Value;

const CHECKPOINTS: [&str; 4] = [
    "llama-gqa-llama3-rope",
    "llama-mha-linear-rope",
    "qwen2-bf16",
    "qwen2-f32",
];

struct Reference {
    prompt: String,
    ids: Vec<u32>,
    /// After each of the last positions.
    logits: Vec<Vec<f32>>,
}

fn reference(name: &str) -> Reference {
    let path = repository("tests/data/checkpoints").join(name);
    let text = std::fs::read_to_string(path.join("reference.json")).unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    Reference {
        prompt: file["prompt"].as_str().unwrap().to_owned(),
        ids: serde_json::from_value(file["prompt_ids"].clone()).unwrap(),
        logits: serde_json::from_value(file["last_logits"].clone()).unwrap(),
    }
}

/// float32 arithmetic over two layers.
fn assert_close(name: &str, got: &[f32], expected: &[f32]) {
    let (nmse, worst) = (nmse(got, expected), worst(got, expected));
    println!("{name}: NMSE {nmse:.1e}, worst {worst:.1e}");
    assert!(nmse < 1e-11 && worst < 1e-5, "{name}: {nmse} {worst}");
}

#[test]
fn prefill_logits_equal_the_reference() {
    for name in CHECKPOINTS {
        let (model, reference) = (fixture(name), reference(name));
        let mut context = context(&model, KvPolicy::full());
        let mut sequence = context.sequence().unwrap();
        let mut logits = Vec::new();
        context
            .prefill_all_logits(&mut sequence, &reference.ids, &never(), |l| {
                logits.extend(l)
            })
            .unwrap();
        let rows: Vec<&[f32]> = logits.chunks_exact(model.config().vocab_size).collect();
        let last = &rows[rows.len() - reference.logits.len()..];
        for (got, expected) in last.iter().zip(&reference.logits) {
            assert_close(name, got, expected);
        }
    }
}

#[test]
fn decoded_logits_equal_the_reference() {
    for name in CHECKPOINTS {
        let (model, reference) = (fixture(name), reference(name));
        let mut context = context(&model, KvPolicy::full());
        let mut sequence = context.sequence().unwrap();
        let prefill = reference.ids.len() - reference.logits.len();
        context
            .prefill(&mut sequence, &reference.ids[..prefill], &never())
            .unwrap();
        for (&token, expected) in reference.ids[prefill..].iter().zip(&reference.logits) {
            let sequence = &mut sequence;
            let got = context.decode(&mut [Step { sequence, token }]).unwrap();
            assert_close(name, &got, expected);
        }
    }
}

#[test]
fn prompts_are_tokenised_as_in_the_reference() {
    for name in CHECKPOINTS {
        let (model, reference) = (fixture(name), reference(name));
        let ids = model.tokenizer().encode(&reference.prompt, true).unwrap();
        assert_eq!(ids, reference.ids, "{name}");
    }
}
