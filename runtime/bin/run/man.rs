//! `run man`: manual pages, made of the same definitions as the help.

use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;

use crate::cli::Cli;
use crate::failure::{Failure, Result};
use crate::output::Output;

/// Flags of `run man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The page of this subcommand instead of the program's
    #[arg(value_name = "COMMAND")]
    page: Option<String>,
    /// Write all pages into this folder instead: run.1, run-generate.1 and so on
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with = "page",
        env = "KCACHE_OUT_DIR"
    )]
    out_dir: Option<PathBuf>,
}

/// Prints one page, or writes all.
///
/// # Errors
/// [`Failure`], also for a subcommand that is not there.
pub fn run(args: &ManArgs) -> Result<()> {
    let mut program = Cli::command().disable_help_subcommand(true);
    // Gives subcommands their whole names, `run-generate`.
    program.build();
    if let Some(folder) = &args.out_dir {
        return write_all(&program, folder);
    }
    let page = match &args.page {
        None => &program,
        Some(name) => program.find_subcommand(name).ok_or_else(|| {
            let known: Vec<&str> = program.get_subcommands().map(Command::get_name).collect();
            let known = known.join(", ");
            Failure::Input(format!("no subcommand {name}, but {known}"))
        })?,
    };
    Output::new(false).bytes(&render(page)?)
}

fn write_all(program: &Command, folder: &Path) -> Result<()> {
    let refused = |path: &Path, e| Failure::Input(format!("{}: {e}", path.display()));
    std::fs::create_dir_all(folder).map_err(|e| refused(folder, e))?;
    for command in std::iter::once(program).chain(program.get_subcommands()) {
        let name = command.get_display_name().unwrap_or(command.get_name());
        let path = folder.join(format!("{name}.1"));
        std::fs::write(&path, render(command)?).map_err(|e| refused(&path, e))?;
    }
    Ok(())
}

fn render(command: &Command) -> Result<Vec<u8>> {
    let version = concat!("kcache ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).source(version);
    let mut page = Vec::new();
    man.render(&mut page)?;
    Ok(page)
}
