//! The engine's thread: takes requests in, steps the batch, and tells clients.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread;
use std::time::Instant;

use kcache::Error;
use kcache::backend::Backend;
use kcache::engine::batch::Event;
use kcache::engine::{Batch, FinishReason, Stats, TextId};
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use super::Shared;
use super::api::Endpoint;
use super::api::error::ApiError;
use super::gate::{Ending, Place, Request, Update};
use super::record::{Outcome, Record};
use crate::failure::{Failure, Result};

/// Owns the batch and all clients. None of its calls waits for a client.
pub struct Worker<B: Backend> {
    batch: Batch<B>,
    /// Texts that are computed at once.
    parallel: usize,
    inbox: Receiver<Request>,
    waiting: VecDeque<Request>,
    clients: BTreeMap<TextId, Client>,
    shared: Arc<Shared>,
}

/// A client whose text is in the batch.
struct Client {
    id: String,
    endpoint: Endpoint,
    arrived: Instant,
    started: Instant,
    first_token: Option<Instant>,
    prompt_tokens: usize,
    updates: Sender<Update>,
    place: Place,
}

impl<B: Backend> Worker<B> {
    /// Serves what comes out of `inbox`.
    pub fn new(
        batch: Batch<B>,
        parallel: usize,
        inbox: Receiver<Request>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            batch,
            parallel,
            inbox,
            waiting: VecDeque::new(),
            clients: BTreeMap::new(),
            shared,
        }
    }

    /// Works until the gate is closed or the device is lost.
    pub fn run(mut self) {
        while self.take_in() {
            self.forget_the_gone();
            self.admit();
            for (id, event) in self.batch.step() {
                self.tell(id, event);
            }
            self.shared.metrics.note_batch(
                self.batch.len(),
                self.waiting.len(),
                self.batch.kv_bytes(),
            );
        }
    }

    /// Empties the inbox; with nothing to do, waits for a request. `false`: the end.
    fn take_in(&mut self) -> bool {
        if self.shared.fault.get().is_some() {
            return false;
        }
        if self.batch.is_empty() && self.waiting.is_empty() {
            match self.inbox.recv() {
                Ok(request) => self.waiting.push_back(request),
                Err(_) => return false,
            }
        }
        loop {
            match self.inbox.try_recv() {
                Ok(request) => self.waiting.push_back(request),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Drops the texts and requests of clients that went away.
    fn forget_the_gone(&mut self) {
        let gone = |client: &Client| client.updates.is_closed();
        let texts: Vec<TextId> = self
            .clients
            .iter()
            .filter_map(|(id, client)| gone(client).then_some(*id))
            .collect();
        for id in texts {
            self.drop_client(id, Outcome::Gone);
        }
        let shared = &self.shared;
        self.waiting.retain(|request| {
            let gone = request.client.is_closed();
            if gone {
                shared.log(Record::waiting(request, Outcome::Gone));
            }
            !gone
        });
    }

    /// Moves waiting requests into the batch, the oldest first.
    fn admit(&mut self) {
        while self.batch.len() < self.parallel {
            let Some(request) = self.waiting.pop_front() else {
                return;
            };
            match self
                .batch
                .add(request.prompt.clone(), request.options.clone())
            {
                Ok(id) => {
                    self.clients.insert(id, Client::new(request));
                }
                // What the others hold now will be free later.
                Err(error) if error.is_out_of_memory() && !self.batch.is_empty() => {
                    self.waiting.push_front(request);
                    return;
                }
                Err(error) => {
                    self.note_fault(&error);
                    let outcome = Outcome::failed(&error);
                    self.shared.log(Record::waiting(&request, outcome));
                    let refusal = Update::Failed(ApiError::from(&error));
                    // A client that went away meanwhile does not care.
                    let _ = request.client.try_send(refusal);
                }
            }
        }
    }

    fn tell(&mut self, id: TextId, event: Event) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let sent = match event {
            Event::Piece(piece) => {
                if piece.token.is_some() {
                    client.first_token.get_or_insert_with(Instant::now);
                    self.shared.metrics.note_token();
                }
                match piece.text.is_empty() {
                    true => Ok(()),
                    false => client.updates.try_send(Update::Text(piece.text)),
                }
            }
            Event::Finished(reason, stats) => return self.finish(id, reason, &stats),
            Event::Failed(error) => return self.fail(id, &error),
        };
        match sent {
            Ok(()) => {}
            Err(TrySendError::Closed(_)) => self.drop_client(id, Outcome::Gone),
            Err(TrySendError::Full(_)) => self.drop_client(id, Outcome::Slow),
        }
    }

    fn finish(&mut self, id: TextId, reason: FinishReason, stats: &Stats) {
        let Some(client) = self.clients.remove(&id) else {
            return;
        };
        let reason = match reason {
            FinishReason::EndOfText | FinishReason::StopString => "stop",
            FinishReason::Length | FinishReason::ContextFull => "length",
            FinishReason::Cancelled => "cancelled",
        };
        self.log(&client, Outcome::Finished(reason), stats);
        let ending = Ending {
            reason,
            prompt_tokens: client.prompt_tokens,
            cached_tokens: client.prompt_tokens.saturating_sub(stats.prompt_tokens),
            new_tokens: stats.new_tokens,
        };
        // The text is complete; whether somebody still wants it is theirs to know.
        client.leave(Update::Finished(ending));
    }

    fn fail(&mut self, id: TextId, error: &Error) {
        self.note_fault(error);
        if let Some(client) = self.clients.remove(&id) {
            self.log(&client, Outcome::failed(error), &Stats::default());
            client.leave(Update::Failed(ApiError::from(error)));
        }
    }

    /// Ends the text of a client that does not read it.
    fn drop_client(&mut self, id: TextId, outcome: Outcome) {
        let stats = self.batch.remove(id).unwrap_or_default();
        if let Some(client) = self.clients.remove(&id) {
            self.log(&client, outcome, &stats);
        }
    }

    fn log(&self, client: &Client, outcome: Outcome, stats: &Stats) {
        self.shared.metrics.note_stats(stats);
        self.shared.log(Record {
            id: client.id.clone(),
            endpoint: client.endpoint,
            outcome,
            prompt_tokens: client.prompt_tokens,
            new_tokens: stats.new_tokens,
            seconds_in_queue: (client.started - client.arrived).as_secs_f64(),
            time_to_first_token: client.time_to_first_token(),
            seconds: client.arrived.elapsed().as_secs_f64(),
        });
    }

    fn note_fault(&self, error: &Error) {
        if error.is_device_lost() {
            // Only the first fault says what happened.
            let _ = self.shared.fault.set(error.to_string());
        }
    }
}

impl Client {
    /// Sends the last update. The place is free before the client knows.
    fn leave(self, last: Update) {
        drop(self.place);
        let _ = self.updates.try_send(last);
    }

    fn new(request: Request) -> Self {
        Self {
            id: request.id,
            endpoint: request.endpoint,
            arrived: request.arrived,
            started: Instant::now(),
            first_token: None,
            prompt_tokens: request.prompt.len(),
            updates: request.client,
            place: request.place,
        }
    }

    fn time_to_first_token(&self) -> Option<f64> {
        let first = self.first_token?;
        Some((first - self.arrived).as_secs_f64())
    }
}

/// Starts the thread.
///
/// # Errors
/// [`Failure::System`] if the system has none to give.
pub fn spawn<B: Backend>(worker: Worker<B>) -> Result<()> {
    let thread = thread::Builder::new().name("kcache-engine".into());
    let watch = Watch(worker.shared.clone());
    let run = move || {
        let _watch = watch;
        worker.run();
    };
    let spawned = thread.spawn(run);
    spawned.map_err(|e| Failure::System(format!("the engine's thread cannot start: {e}")))?;
    Ok(())
}

/// Says so when the thread ends before the server does.
struct Watch(Arc<Shared>);

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.0.closing.is_set() {
            let _ = self.0.fault.set("the engine's thread has ended".to_owned());
        }
    }
}
