//! What is in a model.

use kcache::models::config::ModelConfig;
use kcache::models::weights::WeightSizes;
use kcache::models::{Checkpoint, DType, Format, Result};
use serde::Serialize;

use super::config::ConfigReport;
use super::tensors::{DtypeReport, TensorReport, by_dtype, list};
use super::texts::{GenerationReport, TemplateReport, TokenizerReport};
use crate::sampling_args;

/// What a checkpoint's files say, or a geometry has of it.
#[derive(Serialize)]
pub struct ModelReport {
    pub model: String,
    pub format: Option<&'static str>,
    pub architecture: &'static str,
    pub config: ConfigReport,
    pub parameters: u64,
    pub weight_bytes: u64,
    pub kv_elements_per_token: usize,
    pub dtypes: Vec<DtypeReport>,
    #[serde(flatten)]
    pub texts: Option<TextsReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tensors: Option<Vec<TensorReport>>,
}

/// What only a checkpoint has.
#[derive(Serialize)]
pub struct TextsReport {
    pub tokenizer: TokenizerReport,
    pub chat_template: Option<TemplateReport>,
    pub generation: GenerationReport,
    /// `generation` in words, if it says anything of sampling.
    #[serde(skip)]
    pub sampling: Option<String>,
}

impl ModelReport {
    /// Of `checkpoint`, which a user calls `name`; with all tensors if
    /// `with_tensors`.
    ///
    /// # Errors
    /// As [`TokenizerReport::new`].
    pub fn new(name: String, checkpoint: &Checkpoint, with_tensors: bool) -> Result<Self> {
        let tensors = list(&checkpoint.weights);
        let Checkpoint {
            tokenizer,
            generation,
            ..
        } = checkpoint;
        let texts = TextsReport {
            tokenizer: TokenizerReport::new(tokenizer)?,
            chat_template: checkpoint.chat_template.as_ref().map(TemplateReport::new),
            generation: GenerationReport::new(generation, tokenizer),
            sampling: sampling_args::recommended(generation),
        };
        Ok(Self {
            format: Some(match checkpoint.format {
                Format::HuggingFace => "hugging_face",
                Format::Gguf => "gguf",
            }),
            dtypes: by_dtype(&tensors),
            texts: Some(texts),
            tensors: with_tensors.then_some(tensors),
            ..Self::of_sizes(name, &checkpoint.config, &checkpoint.weight_sizes())
        })
    }

    /// Of a geometry, whose weights are bf16.
    pub fn of_geometry(name: String, config: &ModelConfig, weights: &WeightSizes) -> Self {
        let report = Self::of_sizes(name, config, weights);
        // Seven matrices and two norms a layer, the embedding, the last norm, the head.
        let tables = if config.tie_word_embeddings { 2 } else { 3 };
        Self {
            dtypes: vec![DtypeReport {
                dtype: DType::BF16.name(),
                tensors: 9 * config.n_layers + tables,
                parameters: report.parameters,
                bytes: report.weight_bytes,
            }],
            ..report
        }
    }

    fn of_sizes(name: String, config: &ModelConfig, weights: &WeightSizes) -> Self {
        let config_report = ConfigReport::new(config);
        Self {
            model: name,
            format: None,
            architecture: config.architecture.name(),
            kv_elements_per_token: config_report.kv_elements_per_token(),
            config: config_report,
            parameters: weights.matrix_elements + weights.vector_elements,
            weight_bytes: weights.bytes,
            dtypes: Vec::new(),
            texts: None,
            tensors: None,
        }
    }
}
