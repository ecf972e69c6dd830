//! A checkpoint in memory.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use kcache_models::arch::{Naming, TensorSource};
use kcache_models::{DType, Result, Tensor};
use memmap2::MmapMut;

pub struct Fake {
    naming: Naming,
    tensors: BTreeMap<String, Tensor>,
}

impl Fake {
    pub fn new(naming: Naming) -> Self {
        Self {
            naming,
            tensors: BTreeMap::new(),
        }
    }

    /// Sets a tensor whose blocks are all `bytes`, repeated.
    pub fn set(&mut self, name: &str, dtype: DType, shape: [usize; 2], bytes: &[u8]) {
        let len = shape[0] * dtype.row_bytes(shape[1]).unwrap();
        let mut map = MmapMut::map_anon(len).unwrap();
        for (to, from) in map.iter_mut().zip(bytes.iter().cycle()) {
            *to = *from;
        }
        let map = Arc::new(map.make_read_only().unwrap());
        let path = self.path_of(name).to_owned();
        let tensor = Tensor::new(&path, name, map, 0, dtype, shape).unwrap();
        self.tensors.insert(name.to_owned(), tensor);
    }

    /// Sets an F32 tensor of ones.
    pub fn ones(&mut self, name: &str, shape: [usize; 2]) {
        self.set(name, DType::F32, shape, &1f32.to_le_bytes());
    }

    pub fn remove(&mut self, name: &str) {
        self.tensors.remove(name).unwrap();
    }
}

impl TensorSource for Fake {
    fn naming(&self) -> Naming {
        self.naming
    }

    fn tensor(&self, name: &str) -> Result<Option<Tensor>> {
        Ok(self.tensors.get(name).cloned())
    }

    fn path_of(&self, _: &str) -> &Path {
        Path::new("model/weights")
    }
}
