//! Copies of the committed checkpoints, to be broken in one place.

use std::fs;
use std::path::{Path, PathBuf};

use kcache_models::{Checkpoint, Error};
use serde_json::{Map, Value};
use tempfile::TempDir;

/// In one file, and in two with an index.
pub const SINGLE: &str = "llama-mha-linear-rope";
pub const SHARDED: &str = "llama-gqa-llama3-rope";

pub const WEIGHTS: &str = "model.safetensors";

pub fn committed(name: &str) -> PathBuf {
    let folder = "../tests/data/checkpoints";
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(folder)
        .join(name)
}

pub struct Folder(TempDir);

impl Folder {
    pub fn copy_of(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(committed(name)).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
        }
        Self(dir)
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    pub fn open(&self) -> Result<Checkpoint, Error> {
        Checkpoint::open(self.0.path())
    }

    /// Rewrites a JSON file.
    pub fn json(self, file: &str, change: impl FnOnce(&mut Value)) -> Self {
        let mut value = serde_json::from_slice(&fs::read(self.path(file)).unwrap()).unwrap();
        change(&mut value);
        self.write(file, value.to_string().as_bytes())
    }

    /// Rewrites the bytes of a file.
    pub fn bytes(self, file: &str, change: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut bytes = fs::read(self.path(file)).unwrap();
        change(&mut bytes);
        self.write(file, &bytes)
    }

    /// Rewrites the header of the weights, whose data stay as they are.
    pub fn header(self, change: impl FnOnce(&mut Map<String, Value>)) -> Self {
        let (mut header, data) = self.weights();
        change(&mut header);
        let text = Value::Object(header).to_string();
        self.raw_header(text.len() as u64, text.as_bytes(), &data)
    }

    /// Writes weights with a header that need not be one.
    pub fn raw_header(self, length: u64, header: &[u8], data: &[u8]) -> Self {
        self.write(WEIGHTS, &[&length.to_le_bytes(), header, data].concat())
    }

    /// Header and data of the weights.
    pub fn weights(&self) -> (Map<String, Value>, Vec<u8>) {
        let file = fs::read(self.path(WEIGHTS)).unwrap();
        let n = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
        let header = serde_json::from_slice(&file[8..8 + n]).unwrap();
        (header, file[8 + n..].to_vec())
    }

    pub fn write(self, file: &str, bytes: &[u8]) -> Self {
        fs::write(self.path(file), bytes).unwrap();
        self
    }

    pub fn remove(self, file: &str) -> Self {
        fs::remove_file(self.path(file)).unwrap();
        self
    }

    /// Expects an error that begins with the path of `file` and contains `expected`.
    #[track_caller]
    pub fn refused(&self, file: &str, expected: &str) {
        let start = std::time::Instant::now();
        let message = self.open().unwrap_err().to_string();
        let path = self.path(file).display().to_string();
        assert!(message.starts_with(path.trim_end_matches('/')), "{message}");
        assert!(message.contains(expected), "no `{expected}` in: {message}");
        assert!(start.elapsed().as_secs_f32() < 1.0, "{:?}", start.elapsed());
    }
}
