//! Ctrl-C and termination signals.

use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kcache::engine::CancelFlag;

use crate::failure::{Failure, INTERRUPTED, Result};

/// What a signal does: it cancels the work in progress; a second one, or one
/// while nothing is in progress, ends the program.
#[derive(Clone)]
pub struct Interrupt {
    /// Set by a signal.
    pub cancel: CancelFlag,
    waiting: Arc<AtomicBool>,
}

impl Interrupt {
    /// Takes over the signals of this process.
    ///
    /// # Errors
    /// [`Failure::System`] if the system refuses.
    pub fn install() -> Result<Self> {
        let interrupt = Self {
            cancel: CancelFlag::default(),
            waiting: Arc::default(),
        };
        let handler = interrupt.clone();
        ctrlc::set_handler(move || handler.signalled())
            .map_err(|e| Failure::System(format!("signals cannot be handled: {e}")))?;
        Ok(interrupt)
    }

    /// Runs `wait`, which has nothing to finish or to clean up; a signal ends the
    /// program.
    pub fn while_waiting<R>(&self, wait: impl FnOnce() -> R) -> R {
        self.waiting.store(true, Ordering::SeqCst);
        let came = wait();
        self.waiting.store(false, Ordering::SeqCst);
        came
    }

    fn signalled(&self) {
        if self.cancel.is_cancelled() || self.waiting.load(Ordering::SeqCst) {
            exit(INTERRUPTED.into());
        }
        self.cancel.cancel();
    }
}
