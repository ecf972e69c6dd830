//! From a checkpoint and a prompt to text.
//!
//! The path of one token, top to bottom: [`generate`] asks [`sampler`] for a
//! token and hands it to [`decode`]; `decode` runs the [`layer`] stack, whose
//! attention is the backend's; [`prefill`] is the same stack over a prompt.

pub mod compare;
pub mod decode;
pub mod generate;
pub mod layer;
pub mod model;
pub mod perplexity;
pub mod plan;
pub mod prefill;
pub mod sampler;
pub mod stats;
pub mod stop;

mod cancel;
mod context;
mod plan_text;
mod sequence;

pub use cancel::CancelFlag;
pub use context::{Context, ContextOptions};
pub use decode::Step;
pub use generate::{FinishReason, GenerateOptions, Generation, Piece};
pub use model::Model;
pub use plan::MemoryPlan;
pub use sampler::{Sampler, SamplingParams};
pub use sequence::Sequence;
pub use stats::Stats;
