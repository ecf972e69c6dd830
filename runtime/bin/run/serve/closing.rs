//! The end of the server, as a signal to everything that waits.

use tokio::sync::watch;

/// Set once, for ever.
#[derive(Debug)]
pub struct Closing(watch::Sender<bool>);

impl Default for Closing {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Closing {
    /// The server closes.
    pub fn set(&self) {
        self.0.send_replace(true);
    }

    /// Whether it closes.
    pub fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Ends when the server closes.
    pub async fn wait(&self) {
        // The sender is here: waiting cannot fail before it ends.
        let _ = self.0.subscribe().wait_for(|closing| *closing).await;
    }
}
