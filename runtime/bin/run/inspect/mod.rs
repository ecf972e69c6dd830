//! `run inspect`: what is in a model, and what of it fits where.

mod config;
mod model;
mod plan;
mod table;
mod tensors;
mod text;
mod texts;

use clap::Args;
use clap::builder::FalseyValueParser;
use kcache::models::Checkpoint;
use kcache::models::config::ModelConfig;
use kcache::models::weights::WeightSizes;
use kcache::synthetic;
use serde::Serialize;

use crate::cli::OutputArgs;
use crate::failure::Result;
use crate::kv_args::KvArgs;
use crate::model_args::ComputeArgs;
use crate::subject::{Subject, SubjectArgs};
use crate::ui::Ui;
use model::ModelReport;
use plan::{PlanArgs, PlanReport};

/// Positions of a geometry, which has no limit of its own: what the longest
/// models of its shape are made for.
const GEOMETRY_POSITIONS: usize = 131_072;

/// Flags of `run inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    #[command(flatten)]
    compute: ComputeArgs,
    /// List every tensor too
    #[arg(
        long,
        help_heading = "Output",
        env = "KCACHE_TENSORS",
        value_parser = FalseyValueParser::new()
    )]
    tensors: bool,
    #[command(flatten)]
    plan: PlanArgs,
    #[command(flatten)]
    kv: KvArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// All that is shown.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    model: ModelReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<PlanReport>,
}

/// Prints what the files say, and the plan if one is wanted. A signal ends the
/// program at once.
///
/// # Errors
/// [`crate::failure::Failure`].
pub fn run(args: &InspectArgs) -> Result<()> {
    let mut ui = Ui::new(&args.output)?;
    let interrupt = ui.interrupt.clone();
    let report = interrupt.while_waiting(|| args.report())?;
    ui.output.text(&text::full(&report))?;
    ui.output.json(&report)
}

impl InspectArgs {
    fn report(&self) -> Result<Report> {
        let name = self.subject.name();
        match self.subject.chosen()? {
            Subject::Model(path) => {
                let checkpoint = Checkpoint::open_by(path, self.compute.reading())?;
                Ok(Report {
                    plan: self.plan(&checkpoint.config, &checkpoint.weight_sizes())?,
                    model: ModelReport::new(name, &checkpoint, self.tensors)?,
                })
            }
            Subject::Geometry(geometry) => {
                let config = geometry.config(None, GEOMETRY_POSITIONS);
                let weights = WeightSizes {
                    copied: self.compute.no_mmap,
                    ..synthetic::weight_sizes(&config)
                };
                Ok(Report {
                    plan: self.plan(&config, &weights)?,
                    model: ModelReport::of_geometry(name, &config, &weights),
                })
            }
        }
    }

    fn plan(&self, config: &ModelConfig, weights: &WeightSizes) -> Result<Option<PlanReport>> {
        if !self.plan.wanted() {
            return Ok(None);
        }
        let policies = self.kv.sweep()?.concat();
        PlanReport::new(&self.plan, &self.compute, policies, config, weights).map(Some)
    }
}
