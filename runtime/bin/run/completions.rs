//! `run completions`: scripts that let a shell complete commands and flags.

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use crate::cli::Cli;
use crate::failure::Result;
use crate::output::Output;

/// Flags of `run completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Prints the script.
///
/// # Errors
/// [`crate::failure::Failure::Output`].
pub fn run(args: &CompletionsArgs) -> Result<()> {
    let mut script = Vec::new();
    generate(args.shell, &mut Cli::command(), "run", &mut script);
    Output::new(false).bytes(&script)
}
