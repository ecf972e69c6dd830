//! Ctrl-C and termination signals.

use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kcache::engine::CancelFlag;

use crate::console;
use crate::failure::{Failure, INTERRUPTED, Result};

/// What a signal does: it cancels the work in progress; a second one, or one
/// while there is nothing to finish, ends the program.
#[derive(Clone)]
pub struct Interrupt {
    /// Set by a signal.
    pub cancel: CancelFlag,
    /// Reasons to end at once: at the start that nothing is loaded, and each
    /// [`Interrupt::while_waiting`].
    idle: Arc<AtomicUsize>,
}

impl Interrupt {
    /// Takes over the signals of this process.
    ///
    /// # Errors
    /// [`Failure::System`] if the system refuses.
    pub fn install() -> Result<Self> {
        let interrupt = Self {
            cancel: CancelFlag::default(),
            idle: Arc::new(AtomicUsize::new(1)),
        };
        let handler = interrupt.clone();
        ctrlc::set_handler(move || handler.signalled())
            .map_err(|e| Failure::System(format!("signals cannot be handled: {e}")))?;
        Ok(interrupt)
    }

    /// Notes that work begins which looks at [`Interrupt::cancel`]. To be called once.
    pub fn begin_work(&self) {
        self.idle.fetch_sub(1, Ordering::SeqCst);
    }

    /// Runs `wait`, which has nothing to finish or to clean up; a signal ends the
    /// program.
    pub fn while_waiting<R>(&self, wait: impl FnOnce() -> R) -> R {
        self.idle.fetch_add(1, Ordering::SeqCst);
        let came = wait();
        self.idle.fetch_sub(1, Ordering::SeqCst);
        came
    }

    fn signalled(&self) {
        if self.cancel.is_cancelled() || self.idle.load(Ordering::SeqCst) > 0 {
            console::leave();
            exit(INTERRUPTED.into());
        }
        self.cancel.cancel();
    }
}
