//! Writes small GGUF files, sound or broken in one place.

use std::path::PathBuf;

/// Type numbers of metadata values.
pub mod kind {
    pub const U8: u32 = 0;
    pub const U32: u32 = 4;
    pub const I32: u32 = 5;
    pub const F32: u32 = 6;
    pub const BOOL: u32 = 7;
    pub const STRING: u32 = 8;
    pub const ARRAY: u32 = 9;
    pub const U64: u32 = 10;
}

/// A length and the bytes, as GGUF stores text.
pub fn string(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text].concat()
}

/// The payload of an array: element type, length, elements.
pub fn array(element: u32, len: u64, elements: &[u8]) -> Vec<u8> {
    [&element.to_le_bytes()[..], &len.to_le_bytes(), elements].concat()
}

/// One tensor; `offset` is filled in unless it is to be wrong.
pub struct Info {
    pub name: Vec<u8>,
    pub dims: Vec<u64>,
    pub type_id: u32,
    pub offset: Option<u64>,
    pub data: Vec<u8>,
}

/// The parts of a file. `n_tensors` and `n_keys` are counted unless set.
pub struct Gguf {
    pub magic: [u8; 4],
    pub version: u32,
    pub n_tensors: Option<u64>,
    pub n_keys: Option<u64>,
    pub pairs: Vec<u8>,
    pub tensors: Vec<Info>,
    pub alignment: usize,
    pairs_written: u64,
}

impl Gguf {
    pub fn new() -> Self {
        Self {
            magic: *b"GGUF",
            version: 3,
            n_tensors: None,
            n_keys: None,
            pairs: Vec::new(),
            tensors: Vec::new(),
            alignment: 32,
            pairs_written: 0,
        }
    }

    /// A pair whose payload may be anything.
    pub fn raw(mut self, key: impl AsRef<[u8]>, kind: u32, payload: &[u8]) -> Self {
        self.pairs.extend(string(key.as_ref()));
        self.pairs.extend(kind.to_le_bytes());
        self.pairs.extend(payload);
        self.pairs_written += 1;
        self
    }

    pub fn u32(self, key: &str, value: u32) -> Self {
        self.raw(key, kind::U32, &value.to_le_bytes())
    }

    pub fn f32(self, key: &str, value: f32) -> Self {
        self.raw(key, kind::F32, &value.to_le_bytes())
    }

    pub fn bool(self, key: &str, value: bool) -> Self {
        self.raw(key, kind::BOOL, &[value.into()])
    }

    pub fn str(self, key: &str, value: &str) -> Self {
        self.raw(key, kind::STRING, &string(value.as_bytes()))
    }

    pub fn strings(self, key: &str, values: &[&str]) -> Self {
        let elements: Vec<u8> = values.iter().flat_map(|v| string(v.as_bytes())).collect();
        let payload = array(kind::STRING, values.len() as u64, &elements);
        self.raw(key, kind::ARRAY, &payload)
    }

    /// A tensor with dimensions as GGUF lists them, innermost first.
    pub fn tensor(mut self, name: &str, dims: &[u64], type_id: u32, data: &[u8]) -> Self {
        self.tensors.push(Info {
            name: name.into(),
            dims: dims.into(),
            type_id,
            offset: None,
            data: data.into(),
        });
        self
    }

    /// An F32 tensor.
    pub fn floats(self, name: &str, dims: &[u64], values: &[f32]) -> Self {
        let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.tensor(name, dims, 0, &data)
    }

    /// Changes the last tensor.
    pub fn with(mut self, change: impl FnOnce(&mut Info)) -> Self {
        change(self.tensors.last_mut().unwrap());
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut file = self.magic.to_vec();
        file.extend(self.version.to_le_bytes());
        let n_tensors = self.n_tensors.unwrap_or(self.tensors.len() as u64);
        file.extend(n_tensors.to_le_bytes());
        file.extend(self.n_keys.unwrap_or(self.pairs_written).to_le_bytes());
        file.extend(&self.pairs);
        let mut data = Vec::new();
        for tensor in &self.tensors {
            data.resize(data.len().next_multiple_of(self.alignment), 0);
            file.extend(string(&tensor.name));
            file.extend((tensor.dims.len() as u32).to_le_bytes());
            file.extend(tensor.dims.iter().flat_map(|d| d.to_le_bytes()));
            file.extend(tensor.type_id.to_le_bytes());
            file.extend(tensor.offset.unwrap_or(data.len() as u64).to_le_bytes());
            data.extend(&tensor.data);
        }
        file.resize(file.len().next_multiple_of(self.alignment), 0);
        file.extend(data);
        file
    }

    /// Writes the file into a folder that lives as long as the guard.
    pub fn write(&self) -> (tempfile::TempDir, PathBuf) {
        write(&self.bytes())
    }
}

pub fn write(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    std::fs::write(&path, bytes).unwrap();
    (dir, path)
}
