//! Where requests wait for the engine's thread: a bounded queue that refuses
//! at once what it does not hold.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use kcache::engine::GenerateOptions;
use tokio::sync::mpsc as tokio_mpsc;

use super::api::Endpoint;
use super::api::error::ApiError;

/// Updates that a client may leave unread before it is dropped. Each is one token.
const UNREAD: usize = 1024;

/// A prompt on its way to the engine, with the way back to its client.
pub struct Request {
    /// What the client sees as its name.
    pub id: String,
    /// Where it came in.
    pub endpoint: Endpoint,
    /// When.
    pub arrived: Instant,
    /// The prompt's ids.
    pub prompt: Vec<u32>,
    /// How it is continued.
    pub options: GenerateOptions,
    /// The client; closed once it is gone.
    pub client: tokio_mpsc::Sender<Update>,
    /// Its place among the requests that the server holds.
    pub place: Place,
}

/// What a client is told.
#[derive(Debug)]
pub enum Update {
    /// Text that follows.
    Text(String),
    /// Nothing more follows.
    Finished(Ending),
    /// The request failed.
    Failed(ApiError),
}

/// How a text ended.
#[derive(Clone, Copy, Debug)]
pub struct Ending {
    /// `stop` or `length`.
    pub reason: &'static str,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Of those, tokens whose K and V were kept from an earlier text.
    pub cached_tokens: usize,
    /// Tokens generated.
    pub new_tokens: usize,
}

/// Lets requests in, as many as it has places.
pub struct Gate {
    /// `None` once the server is closing.
    inbox: Mutex<Option<Sender<Request>>>,
    taken: Arc<AtomicUsize>,
    places: usize,
}

/// A request's place, free again when dropped.
pub struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Gate {
    /// A gate with `places` places, and where the engine finds what came in. That
    /// ends when the gate closes.
    pub fn new(places: usize) -> (Self, Receiver<Request>) {
        let (sender, receiver) = mpsc::channel();
        let gate = Self {
            inbox: Mutex::new(Some(sender)),
            taken: Arc::default(),
            places,
        };
        (gate, receiver)
    }

    /// A place for a request.
    ///
    /// # Errors
    /// 429 if none is free.
    pub fn enter(&self) -> Result<Place, ApiError> {
        let taken = self.taken.fetch_add(1, Ordering::Relaxed);
        let place = Place(self.taken.clone());
        match taken < self.places {
            true => Ok(place),
            false => Err(ApiError::queue_full(self.places)),
        }
    }

    /// Requests that hold a place.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Hands a request to the engine.
    ///
    /// # Errors
    /// 503 once the gate is closed or the engine has ended.
    pub fn submit(&self, request: Request) -> Result<(), ApiError> {
        let inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = match &*inbox {
            Some(inbox) => inbox.send(request).is_ok(),
            None => false,
        };
        match sent {
            true => Ok(()),
            false => Err(ApiError::closing()),
        }
    }

    /// Lets nothing more in.
    pub fn close(&self) {
        *self.inbox.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// A client's way to listen and the engine's way to tell it.
pub fn updates() -> (tokio_mpsc::Sender<Update>, tokio_mpsc::Receiver<Update>) {
    tokio_mpsc::channel(UNREAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_and_come_back() {
        let (gate, _inbox) = Gate::new(2);
        let first = gate.enter();
        let second = gate.enter();
        assert!(first.is_ok() && second.is_ok());
        let refused = gate.enter().err().map(|e| e.status.as_u16());
        assert_eq!((refused, gate.taken()), (Some(429), 2));
        drop(first);
        assert!(gate.enter().is_ok());
        assert_eq!(gate.taken(), 1);
    }
}
