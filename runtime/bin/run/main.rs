//! `run`: text from a checkpoint, on the command line.
//!
//! Text and results go to standard output, everything else to standard error.

mod bench;
mod chat;
mod cli;
mod console;
mod eval;
mod failure;
mod generate;
mod input;
mod interrupt;
mod json;
mod kv_args;
mod model_args;
mod output;
mod reply;
mod sampling_args;
mod serve;
mod session;
mod sizes;
mod summary;
mod ui;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Generate(args) => generate::run(&args),
        Command::Chat(args) => chat::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Bench(args) => bench::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
