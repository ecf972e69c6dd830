//! From a request that was parsed to its response.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::Json;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use kcache::engine::GenerateOptions;

use super::Endpoint;
use super::error::ApiError;
use super::fields::{Body, Fields};
use super::objects::Objects;
use super::reply::Reply;
use crate::serve::Shared;
use crate::serve::gate::{self, Request, Update};
use crate::serve::model::{Served, unix_time};

/// What a body asks for.
pub trait Wish: Sized + Send + 'static {
    /// Takes what it understands out of `body`.
    ///
    /// # Errors
    /// 400 naming the field that cannot be used.
    fn read(body: Body) -> Result<Self, ApiError>;

    /// What both endpoints understand.
    fn fields(&self) -> &Fields;

    /// How the text is written.
    ///
    /// # Errors
    /// 400 for a field out of its range.
    fn options(&self, model: &Served) -> Result<GenerateOptions, ApiError>;

    /// The ids of the prompt.
    ///
    /// # Errors
    /// 400 if there is none, or it does not fit the context.
    fn prompt(&self, model: &Served) -> Result<Vec<u32>, ApiError>;
}

/// Takes a place, hands the prompt to the engine, and answers with what comes.
///
/// # Errors
/// What is wrong with the request, and 429 and 503 as [`gate::Gate`] says.
pub async fn answer<W: Wish>(
    shared: Arc<Shared>,
    endpoint: Endpoint,
    arrived: Instant,
    body: Body,
) -> Result<Response, ApiError> {
    shared.check_fault()?;
    let wish = W::read(body)?;
    shared.model.check_name(wish.fields().model.as_deref())?;
    let options = wish.options(&shared.model)?;
    let Fields {
        stream,
        include_usage,
        ..
    } = *wish.fields();
    let place = shared.gate.enter()?;

    let model = shared.model.clone();
    // Templates and tokenizers compute: they get threads of their own.
    let prompt = tokio::task::spawn_blocking(move || wish.prompt(&model));
    let broken = |_| ApiError::internal("the prompt could not be read");
    let prompt = prompt.await.map_err(broken)??;

    let objects = Objects {
        endpoint,
        id: new_id(endpoint),
        created: unix_time(),
        model: shared.model.name.clone(),
        include_usage: stream && include_usage,
    };
    let (client, updates) = gate::updates();
    shared.gate.submit(Request {
        id: objects.id.clone(),
        endpoint,
        arrived,
        prompt,
        options,
        client,
        place,
    })?;
    let reply = Reply::new(updates, shared);
    match stream {
        true => Ok(streamed(reply, objects)),
        false => whole(reply, &objects).await,
    }
}

/// All of the text in one object.
async fn whole(mut reply: Reply, objects: &Objects) -> Result<Response, ApiError> {
    let mut text = String::new();
    loop {
        match reply.next().await {
            Update::Text(more) => text.push_str(&more),
            Update::Finished(ending) => {
                return Ok(Json(objects.whole(&text, &ending)).into_response());
            }
            Update::Failed(error) => return Err(error),
        }
    }
}

/// The text piece by piece, as server-sent events.
fn streamed(mut reply: Reply, objects: Objects) -> Response {
    let event = |data: serde_json::Value| Ok(Event::default().data(data.to_string()));
    let events = async_stream::stream! {
        if let Some(first) = objects.first() {
            yield event(first);
        }
        loop {
            match reply.next().await {
                Update::Text(text) => yield event(objects.piece(&text)),
                Update::Finished(ending) => {
                    yield event(objects.last(&ending));
                    if objects.include_usage {
                        yield event(objects.usage(&ending));
                    }
                    break;
                }
                Update::Failed(error) => {
                    yield event(error.body());
                    break;
                }
            }
        }
        yield Ok::<_, Infallible>(Event::default().data("[DONE]"));
    };
    Sse::new(events)
        .keep_alive(KeepAlive::default())
        .into_response()
}

/// A name that no other request of this server has.
fn new_id(endpoint: Endpoint) -> String {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    let kind = match endpoint {
        Endpoint::Chat => "chatcmpl",
        Endpoint::Completions => "cmpl",
    };
    format!("{kind}-{:x}-{number}", unix_time())
}
