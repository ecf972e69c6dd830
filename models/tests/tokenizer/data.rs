//! Where test data lies, and the tokenizers made of it.

use std::path::{Path, PathBuf};

use kcache_models::gguf::GgufFile;
use kcache_models::tokenizer::Tokenizer;

/// A text and what a reference tokenizer makes of it.
pub type Golden = Vec<(String, Vec<u32>)>;

/// More rows than any tokenizer here has tokens.
pub const ROWS: usize = 50_000;

/// A committed file or folder of `tests/data/tokenizer`.
pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/tokenizer")
        .join(name)
}

pub fn golden(name: &str) -> Golden {
    let text = std::fs::read_to_string(data(name)).unwrap();
    let golden: Golden = serde_json::from_str(&text).unwrap();
    assert!(golden.len() > 30, "{name} is nearly empty");
    golden
}

/// The demo model's tokenizer.
pub fn demo() -> Tokenizer {
    let model = "../cache/models/SmolLM2-135M-Instruct.Q4_1.gguf";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(model);
    assert!(
        path.exists(),
        "{} is missing: run `make model` first",
        path.display()
    );
    from_gguf(&path)
}

pub fn from_gguf(path: &Path) -> Tokenizer {
    let file = GgufFile::open(path).unwrap();
    Tokenizer::from_gguf(&file, ROWS).unwrap_or_else(|e| panic!("{e}"))
}

pub fn from_hf(dir: &Path) -> Tokenizer {
    Tokenizer::from_hf(dir, ROWS).unwrap_or_else(|e| panic!("{e}"))
}

#[track_caller]
pub fn check(tokenizer: &Tokenizer, golden: &Golden) {
    for (text, expected) in golden {
        let ids = tokenizer.encode(text, false).unwrap();
        assert_eq!(&ids, expected, "{text:?}");
    }
}
