//! `run`: text from a checkpoint, on the command line.
//!
//! Text and results go to standard output, everything else to standard error.

mod bench;
mod chat;
mod cli;
mod completions;
mod console;
mod eval;
mod failure;
mod generate;
mod input;
mod inspect;
mod interrupt;
mod json;
mod kv_args;
mod logging;
mod man;
mod model_args;
mod output;
mod profile;
mod reply;
mod sampling_args;
mod serve;
mod session;
mod sizes;
mod subject;
mod summary;
mod ui;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::start(cli.log.log_level);
    let done = match cli.command {
        Command::Generate(args) => generate::run(&args),
        Command::Chat(args) => chat::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Profile(args) => profile::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
        Command::Serve(args) => serve::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
