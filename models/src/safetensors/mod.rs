//! Weights of a Hugging Face checkpoint: one safetensors file, or several and an index.

mod header;
mod index;
mod pairs;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;
use safetensors::Dtype;

use crate::arch::{Naming, TensorSource};
use crate::hf::quoted;
use crate::map::{Reading, read_file};
use crate::{DType, Error, Result, Tensor};
use header::Entry;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The tensors of a checkpoint directory.
pub(crate) struct Safetensors {
    /// The file that says which tensors there are.
    list: PathBuf,
    /// How the next file is read.
    reading: Reading,
    shards: Vec<Shard>,
    /// By name: index into `shards`, and the entry there.
    tensors: HashMap<String, (usize, Entry)>,
}

struct Shard {
    path: PathBuf,
    map: Arc<Mmap>,
}

impl Safetensors {
    /// Reads the weights in `dir` and checks their headers, and the index if there is one.
    pub(crate) fn open(dir: &Path, reading: Reading) -> Result<Self> {
        let single = dir.join(SINGLE);
        if is_there(&single) {
            let mut weights = Self::new(single.clone(), reading);
            weights.add_shard(single)?;
            return Ok(weights);
        }
        let list = dir.join(INDEX);
        if !is_there(&list) {
            let message =
                format!("no {SINGLE} and no {INDEX}: only safetensors weights are supported");
            return Err(Error::invalid(dir, message));
        }
        let mut weights = Self::new(list.clone(), reading);
        for (file, names) in index::read(&list)? {
            let path = dir.join(file);
            let found = weights.add_shard(path.clone())?;
            check_shard(&list, &path, names, found)?;
        }
        Ok(weights)
    }

    fn new(list: PathBuf, reading: Reading) -> Self {
        Self {
            list,
            reading,
            shards: Vec::new(),
            tensors: HashMap::new(),
        }
    }

    /// Reads one file; returns the names of its tensors.
    fn add_shard(&mut self, path: PathBuf) -> Result<HashSet<String>> {
        let map = read_file(&path, self.reading)?;
        self.reading = self.reading.after(map.len());
        let mut names = HashSet::new();
        for (name, entry) in header::read(&path, &map)? {
            names.insert(name.clone());
            self.tensors.insert(name, (self.shards.len(), entry));
        }
        self.shards.push(Shard { path, map });
        Ok(names)
    }

    fn usable(&self, name: &str, shard: &Shard, entry: &Entry) -> Result<Tensor> {
        let dtype = match entry.dtype {
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            other => {
                let message =
                    format!("tensor {name} has type {other}; F32, F16 and BF16 are supported");
                return Err(Error::unsupported(&shard.path, message));
            }
        };
        let shape = match entry.shape.as_slice() {
            &[n] => [1, n],
            &[rows, cols] => [rows, cols],
            other => {
                let message =
                    format!("tensor {name} has shape {other:?}, expected one or two dimensions");
                return Err(Error::invalid(&shard.path, message));
            }
        };
        Tensor::new(
            &shard.path,
            name,
            shard.map.clone(),
            entry.start,
            dtype,
            shape,
        )
    }
}

impl TensorSource for Safetensors {
    fn naming(&self) -> Naming {
        Naming::Hf
    }

    fn tensor(&self, name: &str) -> Result<Option<Tensor>> {
        let found = self.tensors.get(name);
        found
            .map(|(shard, entry)| self.usable(name, &self.shards[*shard], entry))
            .transpose()
    }

    fn path_of(&self, name: &str) -> &Path {
        match self.tensors.get(name) {
            Some((shard, _)) => &self.shards[*shard].path,
            None => &self.list,
        }
    }
}

/// Whether there is anything at `path`, readable or not.
fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Checks that a shard holds the tensors that the index says, and no others.
fn check_shard(
    list: &Path,
    shard: &Path,
    listed: Vec<String>,
    mut found: HashSet<String>,
) -> Result<()> {
    for name in listed {
        if !found.remove(&name) {
            let (name, list) = (quoted(&name), list.display());
            let message = format!("tensor {name} is not here, though {list} says so");
            return Err(Error::invalid(shard, message));
        }
    }
    match found.into_iter().min() {
        Some(name) => {
            let (name, shard) = (quoted(&name), shard.display());
            let message =
                format!("{shard} holds tensor {name}, which weight_map does not place there");
            Err(Error::invalid(list, message))
        }
        None => Ok(()),
    }
}
