//! The program's three ways of talking with its user.

use crate::cli::OutputArgs;
use crate::console::Console;
use crate::failure::Result;
use crate::interrupt::Interrupt;
use crate::output::Output;

/// Standard output, standard error, and signals.
pub struct Ui {
    /// Results.
    pub output: Output,
    /// Notes and progress.
    pub console: Console,
    /// Ctrl-C.
    pub interrupt: Interrupt,
}

impl Ui {
    /// Takes all three.
    ///
    /// # Errors
    /// As [`Interrupt::install`].
    pub fn new(args: &OutputArgs) -> Result<Self> {
        Ok(Self {
            output: Output::new(args.json),
            console: Console::new(args.quiet),
            interrupt: Interrupt::install()?,
        })
    }
}
