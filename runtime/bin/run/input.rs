//! Texts that the user gives.

use std::io::{IsTerminal, Read, stdin};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;

/// The prompt: `-p`, `-f`, or standard input.
#[derive(Debug, Args)]
#[command(next_help_heading = "Prompt (from standard input if neither is given)")]
pub struct PromptArgs {
    /// The text to continue
    #[arg(
        short,
        long,
        value_name = "TEXT",
        allow_hyphen_values = true,
        env = "KCACHE_PROMPT"
    )]
    pub prompt: Option<String>,
    /// File with the text to continue; a line end at its end is left out
    #[arg(
        short,
        long,
        value_name = "FILE",
        conflicts_with = "prompt",
        env = "KCACHE_FILE"
    )]
    pub file: Option<PathBuf>,
}

impl PromptArgs {
    /// The text.
    ///
    /// # Errors
    /// [`Failure::Input`] if there is none, or it cannot be read or is not UTF-8.
    pub fn read(&self, interrupt: &Interrupt) -> Result<String> {
        match (&self.prompt, &self.file) {
            (Some(text), _) => Ok(text.clone()),
            (None, Some(path)) => Ok(without_line_end(read_file(path, interrupt)?)),
            (None, None) => Ok(without_line_end(read_stdin(interrupt)?)),
        }
    }
}

/// The text of a file.
///
/// # Errors
/// [`Failure::Input`] if it cannot be read or is not UTF-8.
pub fn read_file(path: &Path, interrupt: &Interrupt) -> Result<String> {
    let name = path.display().to_string();
    let bytes = interrupt
        .while_waiting(|| std::fs::read(path))
        .map_err(|e| Failure::Input(format!("{name}: {e}")))?;
    utf8(&name, bytes)
}

fn read_stdin(interrupt: &Interrupt) -> Result<String> {
    if stdin().is_terminal() {
        return Err(Failure::Input(
            "no prompt: give --prompt TEXT or --file FILE, or pipe a text in".into(),
        ));
    }
    let mut bytes = Vec::new();
    interrupt
        .while_waiting(|| stdin().read_to_end(&mut bytes))
        .map_err(|e| Failure::Input(format!("standard input: {e}")))?;
    utf8("standard input", bytes)
}

fn utf8(name: &str, bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Failure::Input(format!("{name}: not UTF-8 at byte {at}"))
    })
}

/// Editors and `echo` end a text with a line end that a continuation must not follow.
fn without_line_end(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_end_is_left_out() {
        assert_eq!(without_line_end("a\n".into()), "a");
        assert_eq!(without_line_end("a\r\n".into()), "a");
        assert_eq!(without_line_end("a\n\n".into()), "a\n");
        assert_eq!(without_line_end("a".into()), "a");
    }

    #[test]
    fn broken_text_is_refused_with_its_place() {
        let error = utf8("name", b"ab\xff".to_vec()).unwrap_err().to_string();
        assert_eq!(error, "name: not UTF-8 at byte 2");
    }
}
