//! A model that need not be there: files, or the shape of a well-known one.

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use kcache::models::Checkpoint;
use kcache::models::config::ModelConfig;
use kcache::synthetic::{self, Geometry};

use crate::failure::{Failure, Result};
use crate::model_args::ComputeArgs;

/// Seed of synthetic weights.
const SEED: u64 = 1;

/// A checkpoint that is there, or one whose weights are yet to be made.
pub enum Source {
    /// Opened.
    Checkpoint(Box<Checkpoint>),
    /// Its weights take time and memory, so that plans come first.
    Synthetic(Box<ModelConfig>),
}

impl Source {
    /// The checkpoint.
    ///
    /// # Errors
    /// Where there is no memory for synthetic weights.
    pub fn checkpoint(self) -> Result<Checkpoint> {
        Ok(match self {
            Self::Checkpoint(checkpoint) => *checkpoint,
            Self::Synthetic(config) => synthetic::checkpoint(*config, SEED)?,
        })
    }

    /// What the checkpoint computes.
    pub fn config(&self) -> &ModelConfig {
        match self {
            Self::Checkpoint(checkpoint) => &checkpoint.config,
            Self::Synthetic(config) => config,
        }
    }
}

/// Which model, or a shape instead.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
#[group(required = true, multiple = false)]
pub struct SubjectArgs {
    /// Hugging Face directory or GGUF file
    #[arg(short, long, value_name = "PATH", env = "KCACHE_MODEL")]
    model: Option<PathBuf>,
    /// Instead of a model: the shape of a well-known one, with random bf16 weights
    #[arg(
        long,
        value_name = "NAME",
        value_parser = PossibleValuesParser::new(Geometry::ALL.map(Geometry::name))
            .try_map(|name| name.parse::<Geometry>()),
        env = "KCACHE_GEOMETRY"
    )]
    geometry: Option<Geometry>,
}

/// What the flags chose.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// A checkpoint's path.
    Model(&'a Path),
    /// A shape without files.
    Geometry(Geometry),
}

impl SubjectArgs {
    /// The one that is given.
    ///
    /// # Errors
    /// [`Failure::Input`] for none.
    pub fn chosen(&self) -> Result<Subject<'_>> {
        match (&self.model, self.geometry) {
            (Some(path), _) => Ok(Subject::Model(path)),
            (None, Some(geometry)) => Ok(Subject::Geometry(geometry)),
            (None, None) => Err(Failure::Input("--model or --geometry is needed".into())),
        }
    }

    /// The checkpoint, of its first `layers` layers if any number is given; a
    /// synthetic one for contexts of `n_ctx` tokens.
    ///
    /// # Errors
    /// [`Failure::Input`] for more layers than there are; those of the checkpoint.
    pub fn open(
        &self,
        compute: &ComputeArgs,
        n_ctx: usize,
        layers: Option<usize>,
    ) -> Result<Source> {
        match self.chosen()? {
            Subject::Model(path) => {
                let mut checkpoint = Checkpoint::open_by(path, compute.reading())?;
                checkpoint.config.n_layers = leading(layers, checkpoint.config.n_layers)?;
                let n_layers = checkpoint.config.n_layers;
                checkpoint.weights.layers.truncate(n_layers);
                Ok(Source::Checkpoint(Box::new(checkpoint)))
            }
            Subject::Geometry(geometry) => {
                let mut config = geometry.config(None, n_ctx);
                config.n_layers = leading(layers, config.n_layers)?;
                Ok(Source::Synthetic(Box::new(config)))
            }
        }
    }

    /// The geometry, or the file's name without its ending.
    pub fn name(&self) -> String {
        match (&self.model, self.geometry) {
            (Some(path), _) => {
                let stem = if path.is_dir() {
                    path.file_name()
                } else {
                    path.file_stem()
                };
                stem.unwrap_or(path.as_os_str())
                    .to_string_lossy()
                    .into_owned()
            }
            (None, geometry) => geometry.map(Geometry::name).unwrap_or_default().to_owned(),
        }
    }
}

/// How many of the model's layers `--layers` means.
fn leading(layers: Option<usize>, has: usize) -> Result<usize> {
    match layers {
        Some(layers) if layers > has => Err(Failure::Input(format!(
            "--layers {layers}: the model has {has} layers"
        ))),
        layers => Ok(layers.unwrap_or(has)),
    }
}
