//! Flags that choose the model and what it runs on.

use std::path::PathBuf;

use clap::Args;
use clap::builder::FalseyValueParser;
use kcache::driver::{DeviceChoice, HostLimits};
use kcache::models::Reading;

/// Which model, and how it computes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// Hugging Face directory or GGUF file
    #[arg(short, long, value_name = "PATH", env = "KCACHE_MODEL")]
    pub model: PathBuf,
    #[command(flatten)]
    pub compute: ComputeArgs,
}

/// How a model is read and computed with.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub struct ComputeArgs {
    /// Where to compute: auto, cpu, or cuda:N for the GPU of that number; auto is the first GPU that can run the model, else the CPU
    #[arg(long, value_name = "DEVICE", default_value_t = DeviceChoice::Auto, env = "KCACHE_DEVICE")]
    pub device: DeviceChoice,
    /// Read the weights into memory instead of mapping their files, which may then change
    #[arg(long, env = "KCACHE_NO_MMAP", value_parser = FalseyValueParser::new())]
    pub no_mmap: bool,
    /// CPU threads [default: one for each processor]
    #[arg(short, long, value_name = "N", value_parser = positive, env = "KCACHE_THREADS")]
    pub threads: Option<usize>,
    /// Prompt tokens computed at once; Ctrl-C takes effect between chunks [default: 512 on the CPU, 2048 on a GPU]
    #[arg(long, value_name = "N", value_parser = positive, env = "KCACHE_CHUNK")]
    pub chunk: Option<usize>,
}

impl ComputeArgs {
    /// How the files are read.
    pub fn reading(&self) -> Reading {
        match self.no_mmap {
            true => HostLimits::read().copies(),
            false => Reading::Mapped,
        }
    }
}

/// How long a text may get.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub struct ContextArgs {
    /// Tokens of prompt and reply together [default: what the model was made for, if it fits the memory]
    #[arg(short, long, value_name = "N", env = "KCACHE_CTX_SIZE")]
    pub ctx_size: Option<usize>,
}

/// A whole number above 0.
///
/// # Errors
/// What is wrong with `text`.
pub fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least 1 is needed".into()),
        Ok(n) => Ok(n),
        Err(error) => Err(error.to_string()),
    }
}
