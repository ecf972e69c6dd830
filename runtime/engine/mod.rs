//! From a checkpoint and a prompt to text.
//!
//! The path of one token, top to bottom: [`generate`] asks [`sampler`] for a
//! token and hands it to [`decode`]; `decode` runs the [`layer`] stack, whose
//! attention is the backend's; [`prefill`] is the same stack over a prompt.
//! [`batch`] does the same for several texts at once.

pub mod batch;
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
mod continuation;
mod plan_text;
mod sequence;

pub use batch::{Batch, TextId};
pub use cancel::CancelFlag;
pub use context::{Context, ContextOptions};
pub use continuation::{FinishReason, GenerateOptions, Piece};
pub use decode::Step;
pub use generate::Generation;
pub use model::Model;
pub use plan::MemoryPlan;
pub use sampler::{Sampler, SamplingParams};
pub use sequence::Sequence;
pub use stats::Stats;
