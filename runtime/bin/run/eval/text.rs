//! Which text is read, and how much of it.

use std::path::PathBuf;

use clap::Args;

use crate::failure::{Failure, Result};
use crate::input::read_file;
use crate::ui::Ui;

/// Which part of which text is read, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "Text")]
pub struct TextArgs {
    /// File with the text
    #[arg(short, long, value_name = "FILE", env = "KCACHE_FILE")]
    pub file: PathBuf,
    /// Begin where this first occurs in the file
    #[arg(
        long,
        value_name = "TEXT",
        allow_hyphen_values = true,
        env = "KCACHE_START"
    )]
    pub start: Option<String>,
    /// Tokens of the text; all but the first are predicted
    #[arg(long, value_name = "N", default_value_t = 2048, env = "KCACHE_TOKENS")]
    pub tokens: usize,
    /// Of those, tokens read as a prompt, with dense attention; the others are read one by one, under the KV policy
    #[arg(long, value_name = "N", default_value_t = 1024, env = "KCACHE_PREFILL")]
    pub prefill: usize,
}

impl TextArgs {
    /// The text from where it begins.
    ///
    /// # Errors
    /// [`Failure::Input`] for a file that cannot be read or lacks the beginning.
    pub fn read(&self, ui: &Ui) -> Result<String> {
        let mut text = read_file(&self.file, &ui.interrupt)?;
        if let Some(start) = &self.start {
            let missing = || self.refused(format!("does not contain {start:?}"));
            text.drain(..text.find(start.as_str()).ok_or_else(missing)?);
        }
        Ok(text)
    }

    /// Cuts what is not read off.
    ///
    /// # Errors
    /// [`Failure::Input`] for too short a text.
    pub fn cut(&self, tokens: &mut Vec<u32>) -> Result<()> {
        if tokens.len() < self.tokens {
            let (got, wanted) = (tokens.len(), self.tokens);
            return Err(self.refused(format!("has {got} tokens, fewer than --tokens {wanted}")));
        }
        tokens.truncate(self.tokens);
        Ok(())
    }

    fn refused(&self, why: String) -> Failure {
        Failure::Input(format!("{}: {why}", self.file.display()))
    }
}
