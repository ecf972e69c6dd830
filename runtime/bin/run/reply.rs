//! One prompt, one reply, shown as it comes.

use kcache::backend::Backend;
use kcache::engine::{FinishReason, GenerateOptions, Generation, Stats};
use kcache::{Context, Sequence};

use crate::failure::Result;
use crate::ui::Ui;

/// A finished reply.
pub struct Reply {
    /// All of its text.
    pub text: String,
    /// Its tokens, without the one that ended it.
    pub tokens: Vec<u32>,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Tokens that the sequence held before.
    pub reused_tokens: usize,
    /// How it went.
    pub stats: Stats,
}

impl Reply {
    /// Computes `prompt` after what `sequence` holds, and shows what follows.
    ///
    /// # Errors
    /// As [`Generation::start`] and [`Generation::next_piece`]; output that
    /// cannot be written. A cancel while text is generated is no error.
    pub fn stream<B: Backend>(
        context: &mut Context<B>,
        sequence: &mut Sequence<B>,
        prompt: &[u32],
        options: GenerateOptions,
        ui: &mut Ui,
    ) -> Result<Self> {
        let reused_tokens = sequence.len();
        let spinner = ui.console.spinner(prompt.len());
        let cancel = ui.interrupt.cancel.clone();
        let started = Generation::start(context, sequence, prompt, options, cancel);
        spinner.finish_and_clear();
        let mut generation = started?;

        let (mut text, mut tokens) = (String::new(), Vec::new());
        let finish_reason = loop {
            if let Some(piece) = generation.next_piece()? {
                ui.output.text(&piece.text)?;
                text.push_str(&piece.text);
                tokens.extend(piece.token);
            } else if let Some(reason) = generation.finish_reason() {
                break reason;
            }
        };
        ui.output.text("\n")?;
        Ok(Self {
            text,
            tokens,
            finish_reason,
            reused_tokens,
            stats: generation.stats(),
        })
    }

    /// What decode steps read, near and fetched, in 10⁹ bytes a second; `None`
    /// before the first.
    pub fn gigabytes_per_second(&self) -> Option<f64> {
        let stats = &self.stats;
        let bytes = stats.near_bytes_per_step()? + stats.fetched_bytes_per_step()?;
        Some(bytes * stats.decode_rate()? / 1e9)
    }

    /// The hash of the logits as it is printed.
    pub fn logits_hash(&self) -> String {
        format!("{:016x}", self.stats.logits_hash)
    }
}
