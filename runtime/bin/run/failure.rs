//! Why the program ends, and the exit code that says so.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;

use kcache::{Error, models};

/// Exit code of a failure at run time.
const FAILED: u8 = 1;
/// Exit code of bad usage or bad input.
const REFUSED: u8 = 2;
/// Exit code after an interrupt.
pub const INTERRUPTED: u8 = 130;

/// Why the program ends early.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Flags or files that cannot be used.
    #[error("{0}")]
    Input(String),
    /// The library refused or failed.
    #[error(transparent)]
    Runtime(#[from] Error),
    /// Standard output cannot be written.
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
    /// The system refused what the program itself needs.
    #[error("{0}")]
    System(String),
    /// The user asked for an end.
    #[error("interrupted")]
    Interrupted,
}

/// `Result` with [`Failure`].
pub type Result<T> = std::result::Result<T, Failure>;

impl From<models::Error> for Failure {
    fn from(error: models::Error) -> Self {
        Self::Runtime(error.into())
    }
}

impl Failure {
    /// Says in one line on standard error what happened, unless that is clear,
    /// and returns the exit code.
    pub fn report(&self) -> ExitCode {
        let code = self.code();
        if code != 0 {
            // With standard error gone there is nobody to tell.
            let _ = writeln!(io::stderr(), "error: {}", one_line(&self.to_string()));
        }
        code.into()
    }

    fn code(&self) -> u8 {
        match self {
            Self::Input(_) => REFUSED,
            Self::Output(error) if error.kind() == ErrorKind::BrokenPipe => 0,
            Self::Output(_) | Self::System(_) => FAILED,
            Self::Interrupted => INTERRUPTED,
            Self::Runtime(error) => match error {
                Error::Model(_) | Error::InvalidArgument(_) | Error::ContextFull { .. } => REFUSED,
                Error::OutOfMemory { .. } | Error::Device(_) => FAILED,
                Error::Cancelled => INTERRUPTED,
            },
        }
    }
}

/// `text` with control characters escaped: names in files and paths can hold
/// line ends and terminal commands.
pub fn one_line(text: &str) -> String {
    text.chars().fold(String::new(), |mut line, c| {
        if c.is_control() {
            let _ = write!(line, "{}", c.escape_default());
        } else {
            line.push(c);
        }
        line
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_follow_the_documentation() {
        let pipe = || io::Error::from(ErrorKind::BrokenPipe);
        let full = || Error::ContextFull {
            used: 0,
            new: 9,
            n_ctx: 8,
        };
        for (failure, code) in [
            (Failure::Input("a".into()), 2),
            (Failure::Runtime(full()), 2),
            (Failure::Runtime(Error::InvalidArgument("a".into())), 2),
            (models::Error::Tokenizer("a".into()).into(), 2),
            (Failure::Runtime(Error::Cancelled), 130),
            (Failure::Interrupted, 130),
            (Failure::Output(pipe()), 0),
            (Failure::Output(ErrorKind::StorageFull.into()), 1),
            (Failure::System("a".into()), 1),
        ] {
            assert_eq!(failure.code(), code, "{failure:?}");
        }
    }

    #[test]
    fn a_message_is_one_line_without_terminal_commands() {
        assert_eq!(one_line("é: a\n\u{1b}[2J"), "é: a\\n\\u{1b}[2J");
    }
}
