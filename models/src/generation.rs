//! Stop ids and sampling defaults that a checkpoint recommends.

use std::path::Path;

use crate::gguf::GgufFile;
use crate::hf::JsonFile;
use crate::{Error, Result};

/// What a checkpoint says about generation; `None` where it is silent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GenerationConfig {
    /// Ids that end a reply.
    pub eos_token_ids: Vec<u32>,
    /// Id that begins a text.
    pub bos_token_id: Option<u32>,
    /// Whether to sample rather than take the likeliest token.
    pub do_sample: Option<bool>,
    /// Divisor of the logits, 0 or more.
    pub temperature: Option<f32>,
    /// Keep this many likeliest tokens; 0 keeps all.
    pub top_k: Option<usize>,
    /// Keep the smallest set of tokens with at least this probability, 0 to 1.
    pub top_p: Option<f32>,
    /// Drop tokens below this share of the likeliest one's probability, 0 to 1.
    pub min_p: Option<f32>,
    /// Penalty on tokens already in the context, above 0 (CTRL, arXiv 1909.05858).
    pub repetition_penalty: Option<f32>,
}

impl GenerationConfig {
    /// Reads `generation_config.json`, if there is one, and takes ids that it
    /// lacks from `config.json`.
    pub(crate) fn from_hf(dir: &Path, config: &JsonFile) -> Result<Self> {
        let file = JsonFile::read_optional(dir.join("generation_config.json"))?;
        let mut generation = match &file {
            Some(file) => Self::from_json(file)?,
            None => Self::default(),
        };
        if generation.eos_token_ids.is_empty() {
            generation.eos_token_ids = config.ids("eos_token_id")?;
        }
        if generation.bos_token_id.is_none() {
            generation.bos_token_id = config.id("bos_token_id")?;
        }
        Ok(generation)
    }

    fn from_json(file: &JsonFile) -> Result<Self> {
        let number = |key: &str, expected: &str, valid: fn(f32) -> bool| {
            file.get(key, expected, |value| {
                let x = value.as_f64()? as f32;
                valid(x).then_some(x)
            })
        };
        let positive = |x: f32| x.is_finite() && x > 0.0;
        let share = |x: f32| (0.0..=1.0).contains(&x);
        Ok(Self {
            eos_token_ids: file.ids("eos_token_id")?,
            bos_token_id: file.id("bos_token_id")?,
            do_sample: file.bool("do_sample")?,
            temperature: number("temperature", "0 or more", |x| x.is_finite() && x >= 0.0)?,
            top_k: file.get("top_k", "an integer, 0 or more", |value| {
                usize::try_from(value.as_u64()?).ok()
            })?,
            top_p: number("top_p", "a number from 0 to 1", share)?,
            min_p: number("min_p", "a number from 0 to 1", share)?,
            repetition_penalty: number("repetition_penalty", "a number above 0", positive)?,
        })
    }

    /// Reads the ids of a GGUF file, which holds no sampling defaults.
    pub(crate) fn from_gguf(file: &GgufFile) -> Result<Self> {
        let id = |name: &str| file.get::<u32>(&format!("tokenizer.ggml.{name}_token_id"));
        let mut eos_token_ids = Vec::new();
        // End of text, of turn, of message.
        for name in ["eos", "eot", "eom"] {
            eos_token_ids.extend(id(name)?.filter(|id| !eos_token_ids.contains(id)));
        }
        Ok(Self {
            eos_token_ids,
            bos_token_id: id("bos")?,
            ..Self::default()
        })
    }

    /// Checks that the model knows all ids: its embedding has `rows` rows.
    pub(crate) fn check(&self, path: &Path, rows: usize) -> Result<()> {
        let eos = self.eos_token_ids.iter().map(|id| ("eos_token_id", id));
        let bos = self.bos_token_id.iter().map(|id| ("bos_token_id", id));
        match eos.chain(bos).find(|(_, id)| **id as usize >= rows) {
            Some((key, id)) => {
                let message = format!("{key} is {id}, but the embedding has {rows} rows");
                Err(Error::invalid(path, message))
            }
            None => Ok(()),
        }
    }
}
