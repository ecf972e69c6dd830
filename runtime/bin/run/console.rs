//! What the user sees on standard error.

use std::fmt::Display;
use std::io::{IsTerminal, Write, stderr, stdin};
use std::sync::LazyLock;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::logging;

/// All bars, so that other lines and the end of the program know of them.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Prompts from here on take long enough to show that something happens.
const LONG_PROMPT: usize = 256;

/// Notes and progress bars. A standard error that is gone is no failure.
pub struct Console {
    quiet: bool,
}

impl Console {
    /// With `quiet`, nothing is shown but errors.
    pub fn new(quiet: bool) -> Self {
        if quiet {
            logging::quieten();
        }
        Self { quiet }
    }

    /// Writes a line.
    pub fn note(&self, line: impl Display) {
        if !self.quiet {
            let _ = writeln!(stderr(), "{line}");
        }
    }

    /// Says that figures of a debug build mean little.
    pub fn warn_of_debug_build(&self) {
        if cfg!(debug_assertions) {
            self.note("warning:  a debug build: its figures say little about speed");
        }
    }

    /// Writes the marker where the user types, if a user types.
    pub fn prompt(&self, marker: &str) {
        if is_interactive() {
            let _ = write!(stderr(), "{marker}");
        }
    }

    /// A bar over bytes; invisible unless on a terminal.
    pub fn bytes_bar(&self, what: &'static str) -> ProgressBar {
        self.bar(what, "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes}")
    }

    /// A bar over tokens; invisible unless on a terminal.
    pub fn tokens_bar(&self, what: &'static str) -> ProgressBar {
        self.bar(what, "{msg} {wide_bar} {pos}/{len} tokens, {eta} left")
    }

    /// Turns while `tokens` prompt tokens are computed; invisible unless they
    /// are many and on a terminal.
    pub fn spinner(&self, tokens: usize) -> ProgressBar {
        if tokens < LONG_PROMPT {
            return ProgressBar::hidden();
        }
        let spinner = self.bar("reading", "{spinner} {msg} {len} tokens, {elapsed}");
        spinner.set_length(tokens as u64);
        spinner.enable_steady_tick(Duration::from_millis(100));
        spinner
    }

    fn bar(&self, what: &'static str, template: &str) -> ProgressBar {
        if self.quiet {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template(template);
        let bar = ProgressBar::new(0)
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
            .with_message(what);
        BARS.add(bar)
    }
}

/// Runs `write`, which writes to standard error, beside the bars.
pub fn beside_bars(write: impl FnOnce()) {
    BARS.suspend(write);
}

/// Leaves the terminal as the next program wants it: no bar, and a line of its own.
pub fn leave() {
    if stderr().is_terminal() {
        let _ = BARS.clear();
        let _ = writeln!(stderr());
    }
}

/// Whether somebody types and reads.
pub fn is_interactive() -> bool {
    stdin().is_terminal() && stderr().is_terminal()
}
