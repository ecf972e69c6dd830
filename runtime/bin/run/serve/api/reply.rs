//! A client's end of the way from the engine.

use std::sync::Arc;

use tokio::sync::mpsc::Receiver;

use super::error::ApiError;
use crate::serve::Shared;
use crate::serve::gate::Update;
use axum::http::StatusCode;

/// What comes of one request. Dropping it tells the engine to stop.
pub struct Reply {
    updates: Receiver<Update>,
    shared: Arc<Shared>,
}

impl Reply {
    /// Listens to `updates`.
    pub fn new(updates: Receiver<Update>, shared: Arc<Shared>) -> Self {
        Self { updates, shared }
    }

    /// What comes next. A server that closes says so, even while the engine is busy.
    pub async fn next(&mut self) -> Update {
        tokio::select! {
            biased;
            update = self.updates.recv() => {
                update.unwrap_or_else(|| Update::Failed(self.why_dropped()))
            }
            () = self.shared.closing.wait() => Update::Failed(ApiError::closing()),
        }
    }

    fn why_dropped(&self) -> ApiError {
        if let Err(fault) = self.shared.check_fault() {
            return fault;
        }
        match self.shared.closing.is_set() {
            true => ApiError::closing(),
            false => ApiError::other(
                StatusCode::REQUEST_TIMEOUT,
                "the response was not read in time",
            ),
        }
    }
}
