//! What the integration tests share: models, texts and error measures.
#![allow(dead_code)] // each test crate uses its part

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kcache::backend::cpu::Cpu;
use kcache::cache::KvPolicy;
use kcache::engine::{CancelFlag, Context, ContextOptions, Model};

/// A file below the repository's root, or below the folder that stands for it
/// on a machine without the repository.
pub fn repository(path: &str) -> PathBuf {
    let root = std::env::var_os("KCACHE_TEST_DATA");
    root.map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
        .join(path)
}

/// A fetched file, which a test cannot do without.
fn fetched(path: &str, target: &str) -> PathBuf {
    let path = repository(path);
    assert!(
        path.exists(),
        "{} is missing: run `make {target}` first",
        path.display()
    );
    path
}

/// The demo model's GGUF file.
pub fn demo_model() -> PathBuf {
    fetched("cache/models/SmolLM2-135M-Instruct.Q4_1.gguf", "model")
}

/// *Pride and Prejudice* from its first sentence.
pub fn pride_and_prejudice() -> String {
    let text = std::fs::read_to_string(fetched("cache/texts/prideprejudice.txt", "texts"))
        .expect("the novel is readable");
    let start = text
        .find("It is a truth universally")
        .expect("the first sentence");
    text[start..].to_owned()
}

/// A model on the CPU.
pub fn load(path: &Path) -> Arc<Model<Cpu>> {
    let backend = Cpu::new(None).expect("threads");
    let model = Model::load(path, backend, &mut |_, _| Ok(()));
    Arc::new(model.unwrap_or_else(|e| panic!("{e}")))
}

/// A committed checkpoint of random weights.
pub fn fixture(name: &str) -> Arc<Model<Cpu>> {
    load(&repository("tests/data/checkpoints").join(name))
}

/// A context under `policy`.
pub fn context(model: &Arc<Model<Cpu>>, policy: KvPolicy) -> Context<Cpu> {
    let options = ContextOptions {
        policy,
        ..ContextOptions::default()
    };
    Context::new(model.clone(), &options).unwrap_or_else(|e| panic!("{e}"))
}

/// A flag that nobody sets.
pub fn never() -> CancelFlag {
    CancelFlag::default()
}

/// `‖a - b‖² / ‖b‖²`.
pub fn nmse(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let square = |x: f64| x * x;
    let error: f64 = a.iter().zip(b).map(|(x, y)| square(f64::from(x - y))).sum();
    let norm: f64 = b.iter().map(|y| square(f64::from(*y))).sum();
    error / norm
}

/// The largest `|a - b|`, as a share of the largest `|b|`.
pub fn worst(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let error = a
        .iter()
        .zip(b)
        .map(|(x, y)| (x - y).abs())
        .fold(0.0, f32::max);
    error / b.iter().map(|y| y.abs()).fold(0.0, f32::max)
}
