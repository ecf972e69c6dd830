//! The command line as a whole.

use clap::{Args, Parser, Subcommand};

use crate::bench::BenchArgs;
use crate::chat::ChatArgs;
use crate::eval::EvalArgs;
use crate::generate::GenerateArgs;
use crate::serve::ServeArgs;

const EXIT_CODES: &str = "\
Exit codes:
  0    done, also when the reader of the output went away
  1    failed while running: out of memory, output that cannot be written
  2    bad usage or bad input: flags, files, a prompt longer than the context
  130  interrupted by Ctrl-C or a termination signal

Every flag can also be set by the environment variable named beside it,
over which the flag wins. NO_COLOR is respected.";

// Doc comments of flags are one paragraph: clap would show longer ones, and every
// other flag with them, as a page.

/// Runs language models with keys in device memory and values fetched from the host by need
#[derive(Debug, Parser)]
#[command(name = "run", version, after_help = EXIT_CODES, max_term_width = 100)]
#[command(mut_subcommands(|sub| sub.args_override_self(true).mut_args(|arg| arg.hide_env_values(true))))]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `run` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Continue a prompt
    Generate(GenerateArgs),
    /// Talk with a model, turn by turn
    Chat(ChatArgs),
    /// Measure how well a model predicts a text (perplexity)
    Eval(EvalArgs),
    /// Answer requests over HTTP, as OpenAI's API does
    Serve(ServeArgs),
    /// Measure how fast a model reads and generates
    Bench(BenchArgs),
}

/// How results are shown.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Print JSON on standard output instead of text
    #[arg(long, env = "KCACHE_JSON", value_parser = clap::builder::FalseyValueParser::new())]
    pub json: bool,
    /// Print nothing but errors on standard error
    #[arg(short, long, env = "KCACHE_QUIET", value_parser = clap::builder::FalseyValueParser::new())]
    pub quiet: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_has_its_variable() {
        for command in Cli::command().get_subcommands() {
            for arg in command.get_arguments().filter(|a| a.get_id() != "help") {
                let long = arg.get_long().expect("a long flag");
                let name = format!("KCACHE_{}", long.to_uppercase().replace('-', "_"));
                assert_eq!(arg.get_env(), Some(name.as_ref()), "--{long}");
                assert!(
                    arg.is_hide_env_values_set(),
                    "--{long}: help depends on the environment"
                );
            }
        }
    }
}
