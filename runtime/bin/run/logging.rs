//! What the library notes while it works, on standard error.

use std::io::Write as _;
use std::time::Instant;

use clap::{Args, ValueEnum};
use log::{LevelFilter, Log, Metadata, Record};

use crate::console;

/// How much is noted. Variants have no doc comments: clap would turn the help of
/// every flag into a page.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// The flag of every subcommand.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// What is noted on standard error of the library's work; --quiet leaves errors only
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "LEVEL",
        default_value = "warn",
        help_heading = "Output",
        env = "KCACHE_LOG_LEVEL",
        hide_env_values = true
    )]
    pub log_level: LogLevel,
}

/// Writes notes of `level` and above from here on, coloured on a terminal unless
/// `NO_COLOR` says otherwise.
pub fn start(level: LogLevel) {
    let started = Instant::now();
    let mut builder = env_logger::Builder::new();
    // Other crates have notes of their own, which say little to a user of this one.
    for name in ["kcache", "kcache_models", "run"] {
        builder.filter_module(name, level.into());
    }
    builder.format(move |to, record| {
        let style = to.default_level_style(record.level());
        let (name, seconds) = (record.level(), started.elapsed().as_secs_f64());
        let note = record.args();
        writeln!(to, "[{seconds:9.3} {style}{name:<5}{style:#}] {note}")
    });
    let logger = builder.build();
    log::set_max_level(logger.filter());
    // The first logger of a process stays, and this is the first.
    let _ = log::set_boxed_logger(Box::new(BesideBars(logger)));
}

/// A logger whose lines do not run into a progress bar.
struct BesideBars(env_logger::Logger);

impl Log for BesideBars {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.0.matches(record) {
            console::beside_bars(|| self.0.log(record));
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// Leaves errors only.
pub fn quieten() {
    log::set_max_level(log::max_level().min(LevelFilter::Error));
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Off => Self::Off,
            LogLevel::Error => Self::Error,
            LogLevel::Warn => Self::Warn,
            LogLevel::Info => Self::Info,
            LogLevel::Debug => Self::Debug,
            LogLevel::Trace => Self::Trace,
        }
    }
}
